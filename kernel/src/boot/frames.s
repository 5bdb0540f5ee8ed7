// Call frame information of the vectors (DWARF 5, 6.4): a debugger finds the frames of the interrupted code from every
// instruction. It is written by hand, as the assembler's directives make no signal frames in .debug_frame.
//
// A frame of the vectors is a signal frame: the interrupted code continues at the return address itself, not after a
// call. The return address is register 32, the PC, for X30 is a register of the interrupted code as well. The canonical
// frame address is the context's, and word `n` of the context is register `n` of DWARF for AArch64. DWARF has no number
// for ELR_EL1 and SP_EL0. Until they are in a general-purpose register, the return address is undefined: frames end.

// For all code of the kernel, the compiler's as well: .eh_frame would be loaded.
.cfi_sections .debug_frame

.equ STACK_POINTER, 31
.equ PROGRAM_COUNTER, 32

// The common information entry of all frames.
.pushsection .debug_frame, "", %progbits
    .balign 8
.Lsignal_frame:
    .4byte  91f - 90f
90: .4byte  0xffffffff
    .byte   4                       // version
    .asciz  "zS"                    // a signal frame; z: the length of further data follows
    .byte   8, 0                    // sizes of an address and of a segment
    .byte   1, 8                    // factors of code and data alignment: bytes, words
    .byte   PROGRAM_COUNTER, 0      // the return address; no further data
    .byte   0x0c, STACK_POINTER, 0  // DW_CFA_def_cfa
    .byte   0x07, PROGRAM_COUNTER   // DW_CFA_undefined
    .balign 8
91:
.popsection

// Begins a frame: SP is the context's address, and all registers but PC and SP are unchanged.
.macro begin_frame
.pushsection .debug_frame
    .4byte  93f - 92f
92: .4byte  .Lsignal_frame
    .8byte  90f, 91f - 90f          // address and size of the code
    .byte   0                       // no further data
.popsection
90:
.endm

.macro end_frame
91:
.pushsection .debug_frame
    .balign 8
93:
.popsection
.endm

// A rule that is true from here on.
.macro frame_rule bytes:vararg
.pushsection .debug_frame
    .byte   0x02, 90f - 90b         // DW_CFA_advance_loc1
    .byte   \bytes
.popsection
90:
.endm

// The context's address is in a register.
.macro frame_context register
    frame_rule 0x0d, \register                                  // DW_CFA_def_cfa_register
.endm

// The context is below the stack pointer: its memory is free, but unchanged.
.macro frame_below_stack_pointer
    frame_rule 0x12, STACK_POINTER, -(CONTEXT_SIZE / 8) & 0x7f  // DW_CFA_def_cfa_sf
.endm

// The interrupted code's stack pointer is the end of the context.
.macro frame_stack_pointer_above
    frame_rule 0x14, STACK_POINTER, CONTEXT_SIZE / 8            // DW_CFA_val_offset
.endm

// Registers are in the context.
.macro frame_saved registers:vararg
    .irp    register, \registers
    frame_rule 0x80 + \register, \register                      // DW_CFA_offset
    .endr
.endm

.macro frame_saved_all
    frame_saved 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
    frame_saved 29, 30, STACK_POINTER, PROGRAM_COUNTER
.endm

// A register is in another one.
.macro frame_in register, place
    frame_rule 0x09, \register, \place                          // DW_CFA_register
.endm

// A register is still in itself.
.macro frame_kept register
    frame_rule 0x08, \register                                  // DW_CFA_same_value
.endm

// A register is where no debugger looks.
.macro frame_lost register
    frame_rule 0x07, \register                                  // DW_CFA_undefined
.endm
