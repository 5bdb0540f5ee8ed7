// Programs that notice what a fault of the kernel does to a task: memory that is not zero or not its own, registers
// that have changed. Each reports and ends with code 0 if all is well.

.section .user, "ax"

// discarder: X0 pages, X1 rounds. In each round it writes the pages, discards them, and must read zeros, mostly in one
// turn: the TLB then still holds what was not invalidated.
.global program_discarder
program_discarder:
    begin_first
    mov     x19, x0
    mov     x20, x1
    call    CALL_RESERVE
    cbz     x0, no_memory
    mov     x21, x0
    mov     x25, #0             // rounds
1:  each_page x21
    str     x24, [x24]
    next_page
    mov     x0, x21
    call    CALL_DISCARD
    each_page x21
    ldr     x10, [x24]
    cbnz    x10, lost_page
    next_page
    add     x25, x25, #1
    cmp     x25, x20
    b.lo    1b
    mov     x0, x25
    mov     x1, #0
    report_and_exit 0
    .cfi_endproc

// trimmer: X0 rounds. In each round it pushes into a second page of its stack, has the kernel take that page, and must
// read a zero there, mostly in one turn.
.global program_trimmer
program_trimmer:
    begin_first
    mov     x19, x0
    mov     x20, #0             // rounds
    sub     sp, sp, #PAGE
    .cfi_adjust_cfa_offset PAGE
1:  add     x20, x20, #1
    stp     x20, x20, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    add     sp, sp, #16
    .cfi_adjust_cfa_offset -16
    call    CALL_TRIM
    ldr     x10, [sp, #-16]
    sub     x29, sp, #16
    cbnz    x10, lost
    cmp     x20, x19
    b.lo    1b
    mov     x0, x20
    mov     x1, #0
    report_and_exit 0
    .cfi_endproc

// diver: X0 pages, X1 dives. Reports with its stack pointer at the top, writes so many pages of its stack, spins there
// for some turns without a system call, and checks the pages on the way up.
.global program_diver
program_diver:
    begin_first
    mov     x19, x0
    mov     x20, x1
    mov     x21, #0             // dives
    mov     x23, sp
    .cfi_def_cfa_register x23
1:  mov     x0, x21
    mov     x1, #0
    call    CALL_REPORT
    mov     x22, x19
2:  sub     sp, sp, #PAGE
    mov     x29, sp
    str     x29, [sp]
    subs    x22, x22, #1
    b.ne    2b
    mov     x9, #0x800000
    spin
    mov     x22, x19
3:  ldr     x10, [sp]
    mov     x29, sp
    cmp     x10, x29
    b.ne    lost
    add     sp, sp, #PAGE
    subs    x22, x22, #1
    b.ne    3b
    add     x21, x21, #1
    cmp     x21, x20
    b.lo    1b
    mov     x0, x21
    mov     x1, #0
    report_and_exit 0
    .cfi_endproc

// canary: X0 rounds. At first every other register must be 0. Then each register, the flags and TPIDR_EL0 hold values
// of this task's own, and in each round it checks that they still do: after some instructions, so that interrupts come
// there; in some rounds after a yield, in some after a system call and two faults. Reports the rounds, and the stack
// pointer at the start. Nothing here changes the flags. Offsets in its task page: 8 rounds done, 16 the stack pointer,
// 24 address of a lazy page, 32 rounds to do.
.equ CANARY, 0xca

// X0 must be 0: the difference between a value and the one that is expected. Or X0 itself must have its own value.
.macro expect_zero
    cbnz    x0, canary_changed
.endm
.macro expect_x0
    sub     x0, x0, x1
    add     x0, x0, #1
    expect_zero
.endm
.macro own_page register, offset
    mov     \register, #TASK_PAGE
    ldr     \register, [\register, #\offset]
.endm

.global program_canary
program_canary:
    begin_first
    .irp    number, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    orr     x1, x1, x\number
    .endr
    mrs     x2, nzcv
    mrs     x3, tpidr_el0
    orr     x1, x1, x2
    orr     x1, x1, x3
    cbnz    x1, canary_not_zero
    mov     x9, #TASK_PAGE
    str     x0, [x9, #32]
    mov     x0, sp
    str     x0, [x9, #16]
    mov     x0, #1
    call    CALL_RESERVE
    cbz     x0, no_memory
    str     x0, [x9, #24]
    ldr     x1, [x9]            // the kernel wrote the task's number there
    mov     x0, #CANARY
    add     x30, x0, x1, lsl #32
    lsl     x0, x1, #28
    and     x0, x0, #0xf0000000
    msr     nzcv, x0
    add     x0, x30, #1
    msr     tpidr_el0, x0
    .irp    number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29
    sub     x\number, x30, #(30 - \number)
    .endr

canary_round:
    .rept   64
    nop
    .endr
    expect_x0
    own_page x0, 8
    and     x0, x0, #0xff
    cbz     x0, canary_yield
    sub     x0, x0, #0x80
    cbz     x0, canary_fault
canary_check:
    .irp    number, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29
    sub     x0, x30, x\number
    sub     x0, x0, #(30 - \number)
    expect_zero
    .endr
    own_page x0, 0
    sub     x0, x30, x0, lsl #32
    sub     x0, x0, #CANARY
    expect_zero
    mrs     x0, tpidr_el0
    sub     x0, x0, x30
    sub     x0, x0, #1
    expect_zero
    own_page x1, 16
    mov     x0, sp
    sub     x0, x0, x1
    expect_zero
    own_page x1, 0
    mrs     x0, nzcv
    eor     x0, x0, x1, lsl #28
    and     x0, x0, #0xf0000000
    expect_zero
    mov     x1, #TASK_PAGE
    ldr     x0, [x1, #8]
    add     x0, x0, #1
    str     x0, [x1, #8]
    ldr     x1, [x1, #32]
    sub     x0, x0, x1
    cbz     x0, canary_done
    sub     x1, x30, #29
    sub     x0, x30, #30
    b       canary_round

canary_yield:
    sub     x0, x30, #30
    call    CALL_YIELD
    expect_x0
    sub     x0, x8, #CALL_YIELD
    expect_zero
    sub     x8, x30, #22
    b       canary_check

canary_fault:
    own_page x0, 24
    call    CALL_DISCARD
    expect_zero
    sub     x8, x30, #22
    own_page x0, 24
    ldr     xzr, [x0]
    str     x30, [x0]
    ldr     x0, [x0]
    sub     x0, x0, x30
    expect_zero
    b       canary_check

canary_done:
    own_page x0, 8
    own_page x1, 16
    report_and_exit 0
canary_changed:
    own_page x0, 8
    mov     x1, #0
    report_and_exit 1
canary_not_zero:
    mov     x0, #-3
    mov     x1, #0
    report_and_exit 3
    .cfi_endproc

    .ltorg

.section .rodata
