// The programs that tasks run at EL0. Each starts with its arguments in X0 to X2, its task page at TASK_PAGE, and its
// stack pointer at the top of its dynamic stack. The system calls are described in `calls.rs`.

.equ TASK_PAGE, {task_page}
.equ PAGE, {page}

.equ CALL_YIELD, {call_yield}
.equ CALL_EXIT, {call_exit}
.equ CALL_SLEEP, {call_sleep}
.equ CALL_RESERVE, {call_reserve}
.equ CALL_RELEASE, {call_release}
.equ CALL_DISCARD, {call_discard}
.equ CALL_REPORT, {call_report}
.equ CALL_TRIM, {call_trim}

// Begins a function without a caller. Call frame information tells debuggers that the frames end there.
.macro begin_first
    .cfi_startproc
    .cfi_undefined x30
.endm

.macro call number
    mov     x8, #\number
    svc     #0
.endm

// Spins about X9 times.
.macro spin
99: subs    x9, x9, #1
    b.ne    99b
.endm

// Uses one page of stack beyond the first, and returns: so the stacks of small programs grow as well.
.macro use_stack
    sub     sp, sp, #PAGE
    .cfi_adjust_cfa_offset PAGE
    stp     xzr, xzr, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    add     sp, sp, #16
    .cfi_adjust_cfa_offset -16
    add     sp, sp, #PAGE
    .cfi_adjust_cfa_offset -PAGE
.endm

// Goes through X19 pages from X24 on; `next_page` ends the round. Uses X22.
.macro each_page first
    mov     x24, \first
    mov     x22, #0
98:
.endm
.macro next_page pages=x19
    add     x24, x24, #PAGE
    add     x22, x22, #1
    cmp     x22, \pages
    b.lo    98b
.endm

// Checks that each of so many pages begins with its own address.
.macro check_addresses first, pages
    each_page \first
    ldr     x10, [x24]
    cmp     x10, x24
    b.ne    lost_page
    next_page \pages
.endm

// Reports X0 and X1, and exits with the code.
.macro report_and_exit code
    call    CALL_REPORT
    mov     x0, #\code
    call    CALL_EXIT
.endm

// The code between these two is measured. `end_measurement` reports the counts of the generic timer that it took and
// the number of operations (X20), and exits.
.macro begin_measurement
    isb
    mrs     x21, cntvct_el0
.endm
.macro end_measurement
    isb
    mrs     x22, cntvct_el0
    sub     x0, x22, x21
    mov     x1, x20
    report_and_exit 0
.endm

.section .user, "ax"

// worker: X0 levels of 512 bytes to descend, X1 milliseconds to pause, X2 descents to the full depth; later ones go to
// an eighth of it. On the way up it checks that each level still holds what it wrote. After every 16 descents it gives
// back the stack that it does not need, so that the stack keeps growing.
.global program_worker
program_worker:
    begin_first
    mov     x19, x0
    mov     x20, x1
    mov     x21, x2
    mov     x22, #0             // descents
1:  mov     x0, x19
    cmp     x22, x21
    b.lo    2f
    lsr     x0, x19, #3
    add     x0, x0, #1
2:  bl      descend
    add     x22, x22, #1
    mov     x0, x22
    mov     x1, #0
    call    CALL_REPORT
    mov     x9, #0x40000
    spin
    tst     x22, #15
    b.ne    3f
    call    CALL_TRIM
3:  mov     x0, x20
    call    CALL_SLEEP
    b       1b
    .cfi_endproc

descend:
    .cfi_startproc
    stp     x29, x30, [sp, #-512]!
    .cfi_def_cfa_offset 512
    .cfi_offset x29, -512
    .cfi_offset x30, -504
    mov     x29, sp
    .cfi_def_cfa_register x29
    eor     x10, x0, x29
    stp     x0, x10, [sp, #16]
    str     x10, [sp, #504]
    subs    x0, x0, #1
    b.ls    1f
    bl      descend
1:  ldp     x0, x10, [sp, #16]
    eor     x11, x0, x29
    cmp     x10, x11
    b.ne    lost
    ldr     x11, [sp, #504]
    cmp     x10, x11
    b.ne    lost
    ldp     x29, x30, [sp]
    .cfi_def_cfa_register sp
    .cfi_restore x29
    .cfi_restore x30
    add     sp, sp, #512
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc

// Something that the program wrote is lost: reports where (X29), and exits.
lost:
    begin_first
    mov     x1, x29
    mov     x0, #-1
    report_and_exit 1
    .cfi_endproc

// Advances to the next page (X24), its number (X22) and its place in the six (X23). Branches to `there` unless X19
// pages are done.
.macro next_of_six there
    add     x24, x24, #PAGE
    add     x22, x22, #1
    add     x23, x23, #1
    cmp     x23, #6
    csel    x23, xzr, x23, eq
    cmp     x22, x19
    b.lo    \there
.endm

// lazy: X0 pages to reserve, X1 milliseconds to pause. Of each six pages it leaves two pending, reads two, writes a
// pattern to one and zeros to one. Then it checks them again and again.
.global program_lazy
program_lazy:
    begin_first
    use_stack
    mov     x19, x0
    mov     x20, x1
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x21, x0
    mov     x22, #0             // page
    mov     x23, #0             // its place in the six
    mov     x24, x21
1:  cmp     x23, #2
    b.lo    4f                  // 0, 1: pending
    cmp     x23, #4
    b.lo    2f                  // 2, 3: read
    eor     x10, x24, #0x5555555555555555
    cmp     x23, #4
    csel    x10, x10, xzr, eq   // 4: pattern; 5: zeros
    str     x10, [x24]
    str     x10, [x24, #4088]
    b       4f
2:  ldr     x10, [x24]
    cbnz    x10, lost_page
4:  next_of_six 1b
    mov     x25, #0             // rounds
5:  bl      check_pages
    add     x25, x25, #1
    mov     x0, x25
    mov     x1, x21
    call    CALL_REPORT
    mov     x9, #0x20000
    spin
    mov     x0, x20
    call    CALL_SLEEP
    b       5b
    .cfi_endproc

check_pages:
    .cfi_startproc
    mov     x22, #0
    mov     x23, #0
    mov     x24, x21
1:  cmp     x23, #2
    b.lo    2f
    ldr     x11, [x24, #4088]
    eor     x10, x24, #0x5555555555555555
    cmp     x23, #4
    csel    x10, x10, xzr, eq
    cmp     x10, x11
    b.ne    lost_page
2:  next_of_six 1b
    ret
    .cfi_endproc

lost_page:
    begin_first
    mov     x29, x24
    b       lost
    .cfi_endproc

no_memory:
    begin_first
    mov     x0, #-2
    mov     x1, x19
    report_and_exit 2
    .cfi_endproc

// hog: X0 pages to reserve and write one after another, X1 milliseconds to pause after each 64. Reports the number of
// pages written. When it has written all, it checks them again and again.
.global program_hog
program_hog:
    begin_first
    use_stack
    mov     x19, x0
    mov     x20, x1
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x21, x0
    mov     x24, x0
    mov     x22, #0
1:  str     x24, [x24]
    add     x24, x24, #PAGE
    add     x22, x22, #1
    tst     x22, #63
    b.ne    2f
    mov     x0, x22
    mov     x1, x21
    call    CALL_REPORT
    mov     x0, x20
    call    CALL_SLEEP
2:  cmp     x22, x19
    b.lo    1b
    mov     x0, x22
    mov     x1, x21
    call    CALL_REPORT
3:  check_addresses x21, x19
    mov     x0, #20
    call    CALL_SLEEP
    b       3b
    .cfi_endproc

// scatter: X0 pages to write, X1 of them before each page that it keeps. It reads each page that it keeps before it
// writes it. Then it discards the others, so that those that it keeps lie far apart; it reports their number, and checks
// them again and again.
.global program_scatter
program_scatter:
    begin_first
    use_stack
    mov     x19, x0
    mov     x20, x1
    udiv    x23, x0, x1         // pages to keep
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x21, x0
    mov     x0, x23
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x25, x0
    mov     x24, x21
    mov     x26, x25            // the next page to keep
    mov     x22, #0
1:  mov     x27, x20
2:  str     x24, [x24]
    add     x24, x24, #PAGE
    subs    x27, x27, #1
    b.ne    2b
    ldr     x10, [x26]
    cbnz    x10, lost_page
    str     x26, [x26]
    add     x26, x26, #PAGE
    add     x22, x22, #1
    cmp     x22, x23
    b.lo    1b
    mov     x0, x21
    call    CALL_DISCARD
    mov     x0, x22
    mov     x1, x25
    call    CALL_REPORT
3:  check_addresses x25, x23
    mov     x0, #20
    call    CALL_SLEEP
    b       3b
    .cfi_endproc

// checker: X0 its task number, X1 rounds. TPIDR_EL0 must be 0 at first. Counts in its task page, on its stack and in
// TPIDR_EL0, yields, and checks that all counts are still there. Reports the number of correct rounds.
.global program_checker
program_checker:
    begin_first
    use_stack
    mov     x19, x0
    mov     x20, x1
    mov     x21, #TASK_PAGE
    mov     x22, #0
    mrs     x10, tpidr_el0
    cbnz    x10, 2f
1:  add     x22, x22, #1
    add     x10, x22, x19, lsl #32
    msr     tpidr_el0, x10
    str     x22, [x21, #8]
    stp     x19, x22, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    call    CALL_YIELD
    ldp     x10, x11, [sp], #16
    .cfi_adjust_cfa_offset -16
    ldr     x12, [x21]          // the kernel wrote the task's number there
    ldr     x13, [x21, #8]
    mrs     x14, tpidr_el0
    add     x15, x22, x19, lsl #32
    cmp     x10, x19
    ccmp    x14, x15, #0, eq
    ccmp    x11, x22, #0, eq
    ccmp    x12, x19, #0, eq
    ccmp    x13, x22, #0, eq
    b.ne    2f
    cmp     x22, x20
    b.lo    1b
    mov     x0, x22
    mov     x1, #0
    report_and_exit 0
2:  mov     x0, x22
    mov     x1, #1
    report_and_exit 1
    .cfi_endproc

// spinner: counts in X0, and never gives up its turn.
.global program_spinner
program_spinner:
    begin_first
    add     x0, x0, #1
    b       program_spinner
    .cfi_endproc

// waiter: X0 rounds of `wfi` and `wfe`. Reports the number of rounds.
.global program_waiter
program_waiter:
    begin_first
    mov     x19, x0
    mov     x20, #0
1:  wfi
    wfe
    add     x20, x20, #1
    cmp     x20, x19
    b.lo    1b
    mov     x0, x20
    mov     x1, #0
    report_and_exit 0
    .cfi_endproc

// faults: X0 faults to take. Each round reads and then writes 256 pending pages, and discards them.
.global program_faults
program_faults:
    begin_first
    use_stack
    mov     x19, x0
    mov     x0, #256
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x21, x0
    mov     x22, #0             // faults
1:  mov     x24, x21
    mov     x23, #256
2:  ldr     x10, [x24]
    cbnz    x10, lost_page
    str     x24, [x24]
    ldr     x10, [x24]
    cmp     x10, x24
    b.ne    lost_page
    add     x24, x24, #PAGE
    subs    x23, x23, #1
    b.ne    2b
    add     x22, x22, #512
    mov     x0, x21
    call    CALL_DISCARD
    mov     x0, x22
    mov     x1, #0
    call    CALL_REPORT
    cmp     x22, x19
    b.lo    1b
    mov     x0, x21
    call    CALL_RELEASE
    mov     x0, #0
    call    CALL_EXIT
    .cfi_endproc

// reserver: X0 pages to reserve, of which it writes only the first, X1 milliseconds to pause.
.global program_reserver
program_reserver:
    begin_first
    use_stack
    mov     x19, x0
    mov     x20, x1
    call    CALL_RESERVE
    cbz     x0, no_memory
    str     x0, [x0]
    mov     x21, x0
    mov     x1, x0
    mov     x0, x19
    call    CALL_REPORT
1:  mov     x0, x20
    call    CALL_SLEEP
    b       1b
    .cfi_endproc

// measure_switch: X0 yields to measure. Two tasks that run it measure the switch from one to the other.
.global program_measure_switch
program_measure_switch:
    begin_first
    mov     x19, x0
    mov     x20, x0
    call    CALL_YIELD
    begin_measurement
    mov     x8, #CALL_YIELD
1:  svc     #0
    subs    x19, x19, #1
    b.ne    1b
    end_measurement
    .cfi_endproc

// measure_read, measure_write: X0 pages to touch for the first time.
.global program_measure_read
program_measure_read:
    begin_first
    mov     x23, #0
    b       measure_touch
    .cfi_endproc
.global program_measure_write
program_measure_write:
    begin_first
    mov     x23, #1
    .cfi_endproc
measure_touch:
    begin_first
    mov     x19, x0
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x24, x0
    // The first page of the range creates the tables, which are not to be measured.
    str     xzr, [x24]
    add     x24, x24, #PAGE
    sub     x19, x19, #1
    mov     x20, x19
    begin_measurement
    cbnz    x23, 2f
1:  ldr     x10, [x24]
    add     x24, x24, #PAGE
    subs    x19, x19, #1
    b.ne    1b
    b       3f
2:  str     x24, [x24]
    add     x24, x24, #PAGE
    subs    x19, x19, #1
    b.ne    2b
3:  end_measurement
    .cfi_endproc

// measure_growth: X0 pages to grow its stack by, one at a time.
.global program_measure_growth
program_measure_growth:
    begin_first
    mov     x19, x0
    mov     x20, x0
    mov     x23, sp
    .cfi_def_cfa_register x23
    begin_measurement
1:  sub     sp, sp, #PAGE
    str     xzr, [sp]
    subs    x19, x19, #1
    b.ne    1b
    end_measurement
    .cfi_endproc

// nested: X0 rounds of a system call, a first write of a lazy page and a spin, in a function that others have called.
// Each of them keeps its caller's address in another way. Then it branches to an address that nobody reserved.
.global program_nested
program_nested:
    begin_first
    use_stack
    mov     x19, x0
    mov     x0, #1
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x20, x0
    bl      nested_outer
    .cfi_endproc

nested_outer:
    .cfi_startproc
    stp     x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    mov     x29, sp
    .cfi_def_cfa_register x29
    bl      nested_middle
    .cfi_endproc

nested_middle:
    .cfi_startproc
    str     x30, [sp, #-48]!
    .cfi_def_cfa_offset 48
    .cfi_offset x30, -48
    bl      nested_inner
    .cfi_endproc

nested_inner:
    .cfi_startproc
1:  call    CALL_YIELD
    str     x20, [x20]
    mov     x0, x20
    call    CALL_DISCARD
    mov     x9, #0x10000
    spin
    subs    x19, x19, #1
    b.ne    1b
    ldr     x9, =0x0000123456789000
    br      x9
    .cfi_endproc

// Programs that must end their own task and nothing else.

// runaway: recurses forever.
.global program_runaway
program_runaway:
    begin_first
    bl      recurse
    .cfi_endproc

recurse:
    .cfi_startproc
    stp     x29, x30, [sp, #-64]!
    .cfi_def_cfa_offset 64
    .cfi_offset x29, -64
    .cfi_offset x30, -56
    bl      recurse
    .cfi_endproc

// wild: reads an address that nobody reserved.
.global program_wild
program_wild:
    begin_first
    ldr     x9, =0x0000123456789abc
    ldr     x0, [x9]
    b       program_wild
    .cfi_endproc

// kernel_write: writes to the kernel's image.
.global program_kernel_write
program_kernel_write:
    begin_first
    ldr     x9, =0xffff800000080000
    str     xzr, [x9]
    b       program_kernel_write
    .cfi_endproc

// undefined: executes an undefined instruction.
.global program_undefined
program_undefined:
    begin_first
    udf     #0
    .cfi_endproc

// guard: pushes into the guard page; X0 is the size of the stack.
.global program_guard
program_guard:
    begin_first
    mov     x9, sp
    .cfi_def_cfa_register x9
    sub     x10, x9, x0
    mov     sp, x10
    str     xzr, [sp, #-16]!
    b       program_guard
    .cfi_endproc

// below: reads within its stack's range, but too far below the stack pointer for a push.
.global program_below
program_below:
    begin_first
    sub     x9, sp, #0x4000
    ldr     x0, [x9]
    b       program_below
    .cfi_endproc

    .ltorg

.section .rodata
