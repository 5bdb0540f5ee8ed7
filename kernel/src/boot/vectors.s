// Exception vectors. A task's registers are saved into its `Context` (tasks.rs): SP_EL1 points there while the task
// runs. The kernel then uses its exception stack. The shell runs at EL1; its registers are saved on its own stack.

.equ CONTEXT_SIZE, {context_size}
.equ CONTEXT_SP, {context_sp}
.equ CONTEXT_PC, {context_pc}

.macro save_registers
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x0, sp_el0
    stp     x30, x0, [sp, #240]
    mrs     x1, elr_el1
    mrs     x2, spsr_el1
    stp     x1, x2, [sp, #CONTEXT_PC]
    mov     x0, sp
.endm

// Restores all registers but X0, X1, X30 and the stack pointer.
.macro restore_registers
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
.endm

// A task was interrupted or faulted: saves its registers in its context, and switches to the exception stack.
.macro from_task handler
    .balign 0x80
    save_registers
    ldr     x1, =__exception_stack_top
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    bl      \handler
    b       resume
.endm

// The shell was interrupted: saves its registers as a context on its own stack.
.macro from_shell handler
    .balign 0x80
    sub     sp, sp, #CONTEXT_SIZE
    save_registers
    bl      \handler
    b       resume
.endm

// An exception that the kernel does not expect: switches to the emergency stack, as the stack pointer may be invalid.
.macro fatal number
    .balign 0x80
    msr     tpidr_el1, x0
    mov     x0, #\number
    b       fatal_common
.endm

.section .text.vectors, "ax"
.balign 0x800
.global exception_vectors
exception_vectors:
    fatal 0                         // current EL with SP_EL0
    fatal 1
    fatal 2
    fatal 3
    fatal 4                         // current EL: synchronous
    from_shell shell_interrupted    // IRQ
    fatal 6
    fatal 7
    from_task task_synchronous      // lower EL, AArch64
    from_task task_interrupted
    fatal 10
    fatal 11
    fatal 12                        // lower EL, AArch32
    fatal 13
    fatal 14
    fatal 15
    .balign 0x80

// x0: the context to continue with.
.global resume
resume:
    mov     sp, x0
    ldp     x1, x2, [sp, #CONTEXT_PC]
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x30, x3, [sp, #240]
    tbnz    w2, #2, 1f              // SPSR.M[2]: EL1, the shell
    msr     sp_el0, x3
    restore_registers
    ldp     x0, x1, [sp, #0]
    eret
1:  restore_registers
    ldp     x0, x1, [sp], #CONTEXT_SIZE
    eret

// x0: number of the vector; TPIDR_EL1: x0 of the interrupted code.
fatal_common:
    msr     tpidrro_el0, x1
    mov     x1, sp
    msr     tpidr_el0, x1
    ldr     x1, =__emergency_stack_top
    mov     sp, x1
    sub     sp, sp, #CONTEXT_SIZE
    mrs     x1, tpidrro_el0
    msr     tpidrro_el0, x0
    mrs     x0, tpidr_el1
    save_registers
    mrs     x1, tpidr_el0           // the stack pointer at the exception
    str     x1, [sp, #CONTEXT_SP]
    mrs     x1, tpidrro_el0
    bl      fatal_exception
1:  wfi
    b       1b
