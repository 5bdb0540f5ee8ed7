// Core 0 goes down to EL2 and switches the MMU on, with tables that map every address to itself: memory below
// 2 GiB, devices from 3 GiB on, nothing between. The others sleep.

.section .text.boot, "ax"
.global _start
_start:
    mrs     x0, mpidr_el1
    and     x0, x0, #3
    cbnz    x0, sleep
    mrs     x0, CurrentEL
    cmp     x0, #(3 << 2)
    b.ne    at_el2
    mov     x0, #0x5b1              // SCR_EL3: RW, HCE, SMD, RES1, NS: the lower levels are non-secure AArch64
    msr     scr_el3, x0
    mov     x0, #0x3c9              // SPSR: EL2h, all exceptions masked
    msr     spsr_el3, x0
    adr     x0, at_el2
    msr     elr_el3, x0
    eret

at_el2:
    adr     x0, vectors
    msr     vbar_el2, x0
    ldr     x0, =__stack_top
    mov     sp, x0
    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
1:  cmp     x0, x1
    b.hs    2f
    stp     xzr, xzr, [x0], #16
    b       1b
2:  msr     hcr_el2, xzr
    mov     x0, #0x04ff             // MAIR_EL2: 0 normal write-back, 1 device nGnRE
    msr     mair_el2, x0
    ldr     x0, =0x80843519         // TCR_EL2: 39 bits, 4 KiB granule, 44-bit outputs
    msr     tcr_el2, x0
    adr     x0, table
    msr     ttbr0_el2, x0
    dsb     sy
    isb
    ldr     x0, =0x30c51835         // SCTLR_EL2: RES1 bits, M, C, I
    msr     sctlr_el2, x0
    isb
    bl      kernel_main
sleep:
    wfe
    b       sleep

.section .data.table, "aw"
.balign 4096
table:
    .quad   0x0000000000000701      // normal, inner shareable, accessed
    .quad   0x0000000040000701
    .quad   0
    .quad   0x00400000c0000405      // device, never executed
    .fill   508, 8, 0
