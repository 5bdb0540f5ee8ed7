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
    stp     xzr, xzr, [sp, #-16]!
    add     sp, sp, #16
    add     sp, sp, #PAGE
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

descend:
    stp     x29, x30, [sp, #-512]!
    mov     x29, sp
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
    add     sp, sp, #512
    ret

// Something that the program wrote is lost: reports where (X29), and exits.
lost:
    mov     x1, x29
    mov     x0, #-1
    report_and_exit 1

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

check_pages:
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

lost_page:
    mov     x29, x24
    b       lost

no_memory:
    mov     x0, #-2
    mov     x1, x19
    report_and_exit 2

// hog: X0 pages to reserve and write one after another, X1 milliseconds to pause after each 64. Reports the number of
// pages written. When it has written all, it checks them again and again.
.global program_hog
program_hog:
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
3:  mov     x24, x21
    mov     x22, #0
4:  ldr     x10, [x24]
    cmp     x10, x24
    b.ne    lost_page
    add     x24, x24, #PAGE
    add     x22, x22, #1
    cmp     x22, x19
    b.lo    4b
    mov     x0, #20
    call    CALL_SLEEP
    b       3b

// checker: X0 its task number, X1 rounds. Counts in its task page and on its stack, yields, and checks that both counts
// are still there. Reports the number of correct rounds.
.global program_checker
program_checker:
    use_stack
    mov     x19, x0
    mov     x20, x1
    mov     x21, #TASK_PAGE
    mov     x22, #0
1:  add     x22, x22, #1
    str     x22, [x21, #8]
    stp     x19, x22, [sp, #-16]!
    call    CALL_YIELD
    ldp     x10, x11, [sp], #16
    ldr     x12, [x21]          // the kernel wrote the task's number there
    ldr     x13, [x21, #8]
    cmp     x10, x19
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

// faults: X0 faults to take. Each round reads and then writes 256 pending pages, and discards them.
.global program_faults
program_faults:
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

// reserver: X0 pages to reserve, of which it writes only the first, X1 milliseconds to pause.
.global program_reserver
program_reserver:
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

// measure_switch: X0 yields to measure. Two tasks that run it measure the switch from one to the other.
.global program_measure_switch
program_measure_switch:
    mov     x19, x0
    mov     x20, x0
    call    CALL_YIELD
    begin_measurement
    mov     x8, #CALL_YIELD
1:  svc     #0
    subs    x19, x19, #1
    b.ne    1b
    end_measurement

// measure_read, measure_write: X0 pages to touch for the first time.
.global program_measure_read
program_measure_read:
    mov     x23, #0
    b       measure_touch
.global program_measure_write
program_measure_write:
    mov     x23, #1
measure_touch:
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

// measure_growth: X0 pages to grow its stack by, one at a time.
.global program_measure_growth
program_measure_growth:
    mov     x19, x0
    mov     x20, x0
    begin_measurement
1:  sub     sp, sp, #PAGE
    str     xzr, [sp]
    subs    x19, x19, #1
    b.ne    1b
    end_measurement

// Programs that must end their own task and nothing else.

// runaway: recurses forever.
.global program_runaway
program_runaway:
    stp     x29, x30, [sp, #-64]!
    bl      program_runaway

// wild: reads an address that nobody reserved.
.global program_wild
program_wild:
    ldr     x9, =0x0000123456789abc
    ldr     x0, [x9]
    b       program_wild

// kernel_write: writes to the kernel's image.
.global program_kernel_write
program_kernel_write:
    ldr     x9, =0xffff800000080000
    str     xzr, [x9]
    b       program_kernel_write

// undefined: executes an undefined instruction.
.global program_undefined
program_undefined:
    udf     #0

// guard: pushes into the guard page; X0 is the size of the stack.
.global program_guard
program_guard:
    mov     x9, sp
    sub     x9, x9, x0
    mov     sp, x9
    str     xzr, [sp, #-16]!
    b       program_guard

// below: reads within its stack's range, but too far below the stack pointer for a push.
.global program_below
program_below:
    sub     x9, sp, #0x4000
    ldr     x0, [x9]
    b       program_below

    .ltorg

.section .rodata
