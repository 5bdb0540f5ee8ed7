// Exception vectors. A task's registers are saved into its `Context` (tasks.rs): SP_EL1 points there while the task
// runs. The kernel then uses its exception stack. The shell runs at EL1; its registers are saved on its own stack.
// After an instruction, the frame_… macros say where the registers of the interrupted code are from there on: frames.s.

.equ CONTEXT_SIZE, {context_size}
.equ CONTEXT_SP, {context_sp}
.equ CONTEXT_PC, {context_pc}
.equ CONTEXT_THREAD_POINTER, {context_thread_pointer}

.if CONTEXT_SP != 8 * STACK_POINTER || CONTEXT_PC != 8 * PROGRAM_COUNTER || CONTEXT_SIZE > 8 * 63
.error "a context is not what the call frame information says"
.endif

.macro save first, second
    stp     x\first, x\second, [sp, #8 * \first]
    frame_saved \first, \second
.endm

.macro save_x4_to_x29
    save    4, 5
    save    6, 7
    save    8, 9
    save    10, 11
    save    12, 13
    save    14, 15
    save    16, 17
    save    18, 19
    save    20, 21
    save    22, 23
    save    24, 25
    save    26, 27
    save    28, 29
.endm

// Saves all registers but X0 and X1, which are saved. X0: ELR_EL1; X1: the stack pointer of the interrupted code.
.macro save_registers
    save    2, 3
    save_x4_to_x29
    stp     x30, x1, [sp, #240]
    frame_saved 30, STACK_POINTER
    mrs     x1, spsr_el1
    stp     x0, x1, [sp, #CONTEXT_PC]
    frame_saved PROGRAM_COUNTER
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

// A task was interrupted or faulted: saves its registers in its context, and switches to the exception stack. X19 keeps
// the context's address for debuggers: functions that the handler calls preserve it.
.macro from_task handler
    begin_frame
    save    0, 1
    mrs     x0, elr_el1
    mrs     x1, sp_el0
    frame_in PROGRAM_COUNTER, 0
    frame_in STACK_POINTER, 1
    save_registers
    mrs     x1, tpidr_el0
    str     x1, [sp, #CONTEXT_THREAD_POINTER]
    mov     x19, sp
    frame_context 19
    ldr     x1, =__exception_stack_top
    mov     sp, x1
    mov     x29, xzr
    bl      \handler
    mov     sp, x0                  // GDB takes the rules of this instruction, the return address, for the handler
    frame_context STACK_POINTER
    b       resume
    .balign 0x80
    end_frame
.endm

// The shell was interrupted: saves its registers as a context on its own stack.
.macro from_shell handler
    begin_frame
    stp     x0, x1, [sp, #-CONTEXT_SIZE]!
    frame_stack_pointer_above
    frame_saved 0, 1
    mrs     x0, elr_el1
    frame_in PROGRAM_COUNTER, 0
    add     x1, sp, #CONTEXT_SIZE
    save_registers
    bl      \handler
    mov     sp, x0
    b       resume
    .balign 0x80
    end_frame
.endm

// An exception that the kernel does not expect: switches to the emergency stack, as the stack pointer may be invalid.
// `pointer` is the interrupted code's stack pointer: `sp`, or `sp_el0`.
.macro fatal number, pointer
    begin_frame
    msr     tpidr_el1, x0
    mrs     x0, elr_el1
    frame_lost 0
    .ifc    \pointer, sp
    frame_in PROGRAM_COUNTER, 0
    frame_kept STACK_POINTER
    .endif
    msr     tpidrro_el0, x1
    ldr     x1, =__emergency_stack_top
    frame_lost 1
    sub     x1, x1, #CONTEXT_SIZE
    frame_context 1
    str     x2, [x1, #16]
    frame_saved 2
    .ifc    \pointer, sp
    mov     x2, sp
    .else
    mrs     x2, \pointer
    frame_in PROGRAM_COUNTER, 0
    .endif
    frame_in STACK_POINTER, 2
    str     x2, [x1, #CONTEXT_SP]
    frame_saved STACK_POINTER
    mov     sp, x1
    frame_context STACK_POINTER
    mov     x1, #\number
    b       fatal_common
    .balign 0x80
    end_frame
.endm

.section .text.vectors, "ax"
.balign 0x800
.global exception_vectors
exception_vectors:
    fatal   0, sp_el0               // current EL with SP_EL0
    fatal   1, sp_el0
    fatal   2, sp_el0
    fatal   3, sp_el0
    fatal   4, sp                   // current EL: synchronous
    from_shell shell_interrupted    // IRQ
    fatal   6, sp
    fatal   7, sp
    from_task task_synchronous      // lower EL, AArch64
    from_task task_interrupted
    fatal   10, sp_el0
    fatal   11, sp_el0
    fatal   12, sp_el0              // lower EL, AArch32
    fatal   13, sp_el0
    fatal   14, sp_el0
    fatal   15, sp_el0
    .org    exception_vectors + 0x800   // an error if a vector has more than 0x80 bytes

// SP: the context to continue with. It keeps the registers until `eret`.
resume:
    begin_frame
    frame_saved_all
    ldp     x1, x2, [sp, #CONTEXT_PC]
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x30, x3, [sp, #240]
    tbnz    w2, #2, 1f              // SPSR.M[2]: EL1, the shell
    msr     sp_el0, x3
    ldr     x3, [sp, #CONTEXT_THREAD_POINTER]
    msr     tpidr_el0, x3
    restore_registers
    ldp     x0, x1, [sp, #0]
    eret
1:  restore_registers
    ldp     x0, x1, [sp], #CONTEXT_SIZE
    frame_below_stack_pointer
    eret
    end_frame

// X0: ELR_EL1; X1: number of the vector; TPIDR_EL1 and TPIDRRO_EL0: X0 and X1 of the interrupted code; SP: the context,
// on the emergency stack, which has X2 and the stack pointer.
fatal_common:
    begin_frame
    frame_lost 0
    frame_lost 1
    frame_saved 2, STACK_POINTER
    frame_in PROGRAM_COUNTER, 0
    str     x3, [sp, #24]
    frame_saved 3
    save_x4_to_x29
    str     x30, [sp, #240]
    mrs     x2, spsr_el1
    stp     x0, x2, [sp, #CONTEXT_PC]
    frame_saved 30, PROGRAM_COUNTER
    mrs     x2, tpidr_el1
    mrs     x3, tpidrro_el0
    stp     x2, x3, [sp]
    frame_saved 0, 1
    mrs     x2, tpidr_el0
    str     x2, [sp, #CONTEXT_THREAD_POINTER]
    mov     x0, sp
    bl      fatal_exception
2:  wfi
    b       2b
    end_frame
