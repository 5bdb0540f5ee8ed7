// From the entry point to `kernel_main`, on every core: goes down to EL1, turns MMU and caches on, and jumps to the
// upper half. Nothing is written to memory, and no Rust runs, before the caches are on.

.equ IMAGE_OFFSET, {image_offset}
.equ GIC_DISTRIBUTOR, {gic_distributor}
.equ GIC_CPU_INTERFACE, {gic_cpu_interface}
// Clock and divider of the generic timer (BCM2711 ARM Peripherals, "ARM_LOCAL"): the crystal's 54 MHz, divided by 1.
.equ LOCAL_CONTROL, 0xff800000
.equ LOCAL_PRESCALER, 8
.equ CRYSTAL_HZ, 54000000

// Loads the 64-bit address of a symbol in the upper half.
.macro load_address register, symbol
    ldr     \register, =\symbol
.endm

.section .text.boot, "ax"
// The header of an arm64 image, as Linux defines it (Documentation/arch/arm64/booting.rst). U-Boot's `booti` and QEMU
// take from it where in RAM the image must lie, and how much room it needs.
.global _start
_start:
    .cfi_startproc
    .cfi_undefined x30              // nobody called it
    b       entered
    .word   0
    .quad   LOAD_ADDRESS            // distance from the start of RAM
    .quad   __image_size            // with .bss and the stacks
    .quad   2                       // little-endian, pages of 4 KiB, near the start of RAM
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0

// X0: physical address of the device tree on core 0, 0 if there is none.
entered:
    msr     daifset, #0xf
    msr     spsel, #1
    mov     x20, x0
    mrs     x19, CurrentEL
    cmp     x19, #(3 << 2)
    b.eq    from_el3
    cmp     x19, #(2 << 2)
    b.eq    from_el2
    b       at_el1

// All that only EL3 can set, on each core. The board's firmware has done it if it enters the kernel at EL2.
from_el3:
    // All interrupts belong to group 1, which the non-secure world can use (GICv2, 4.3.4). GICD_IGROUPR0 and GICC_PMR
    // are banked for each core. If GICC_PMR is below 0x80, the non-secure world cannot change it.
    ldr     x1, =GIC_DISTRIBUTOR
    ldr     w2, [x1, #4]            // GICD_TYPER.ITLinesNumber: registers GICD_IGROUPR after the first
    and     w2, w2, #0x1f
    mrs     x3, mpidr_el1
    tst     x3, #3
    csel    w2, w2, wzr, eq         // core 0 does the shared ones
    mov     w0, #-1
    add     x1, x1, #0x80
1:  str     w0, [x1], #4
    subs    w2, w2, #1
    b.pl    1b
    ldr     x1, =GIC_CPU_INTERFACE
    mov     w0, #0xff
    str     w0, [x1, #4]
    // L2CTLR_EL1: the latency of the L2 cache's RAM that the firmware's own stub sets (raspberrypi/tools, armstub8.S)
    mrs     x0, s3_1_c11_c0_2
    mov     x1, #0x22
    orr     x0, x0, x1
    msr     s3_1_c11_c0_2, x0
    // CPUECTLR_EL1.SMPEN: must be set before the MMU and the caches are on (Cortex-A72 TRM)
    mrs     x0, s3_1_c15_c2_1
    orr     x0, x0, #(1 << 6)
    msr     s3_1_c15_c2_1, x0
    // CNTFRQ_EL0 reads 0 if no firmware has set the timer up. QEMU's counts at 62.5 MHz, and says so.
    mrs     x0, cntfrq_el0
    cbnz    x0, 2f
    ldr     x1, =LOCAL_CONTROL
    str     wzr, [x1]
    mov     w0, #0x80000000
    str     w0, [x1, #LOCAL_PRESCALER]
    ldr     x0, =CRYSTAL_HZ
    msr     cntfrq_el0, x0
2:  mov     x0, #0x5b1              // SCR_EL3: RW, HCE, SMD, RES1, NS: the lower levels are non-secure AArch64
    msr     scr_el3, x0
    msr     cptr_el3, xzr
    msr     mdcr_el3, xzr           // debug and performance registers do not trap
    adr     x0, vectors_above_el1
    msr     vbar_el3, x0
    mov     x0, #0x3c9              // SPSR: EL2h, all exceptions masked
    msr     spsr_el3, x0
    adr     x0, from_el2
    msr     elr_el3, x0
    ldr     x0, =0x30c50830         // SCTLR_EL2: RES1 bits, MMU and caches off
    msr     sctlr_el2, x0
    isb
    eret

from_el2:
    mov     x0, #(1 << 31)          // HCR_EL2.RW: EL1 is AArch64
    msr     hcr_el2, x0
    mov     x0, #3                  // CNTHCTL_EL2: EL1 may use the physical counter and timer
    msr     cnthctl_el2, x0
    msr     cntvoff_el2, xzr
    mov     x0, #0x33ff             // CPTR_EL2: RES1 bits, no traps
    msr     cptr_el2, x0
    msr     hstr_el2, xzr
    mrs     x0, pmcr_el0
    ubfx    x0, x0, #11, #5         // PMCR_EL0.N
    msr     mdcr_el2, x0            // HPMN: EL1 has all event counters; debug and performance registers do not trap
    adr     x0, vectors_above_el1
    msr     vbar_el2, x0
    msr     vttbr_el2, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    ldr     x0, =0x30d00800         // SCTLR_EL1: RES1 bits, MMU and caches off
    msr     sctlr_el1, x0
    mov     x0, #0x3c5              // SPSR: EL1h, all exceptions masked
    msr     spsr_el2, x0
    adr     x0, at_el1
    msr     elr_el2, x0
    isb
    eret

at_el1:
    ldr     x0, =0x4404ff           // MAIR_EL1: 0 normal write-back, 1 device nGnRE, 2 normal non-cacheable
    msr     mair_el1, x0
    // TCR_EL1: 48 bits and 4 KiB granule in both halves, inner shareable, write-back
    ldr     x0, =0xb5103510
    mrs     x1, id_aa64mmfr0_el1
    and     x2, x1, #0xf            // PARange
    mov     x3, #5                  // at most 48 bits
    cmp     x2, x3
    csel    x2, x2, x3, lo
    orr     x0, x0, x2, lsl #32     // IPS
    ubfx    x2, x1, #4, #4          // ASIDBits
    cmp     x2, #2
    cset    x2, eq
    orr     x0, x0, x2, lsl #36     // AS: 16-bit ASIDs if the CPU has them
    msr     tcr_el1, x0
    adrp    x0, boot_table_low
    msr     ttbr0_el1, x0
    adrp    x0, boot_table_high
    msr     ttbr1_el1, x0
    dsb     sy
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    ldr     x0, =0x30d0181d         // SCTLR_EL1: RES1 bits, M, C, SA, SA0, I
    mrs     x1, mpidr_el1
    load_address x2, in_upper_half
    msr     sctlr_el1, x0
    isb
    br      x2

in_upper_half:
    load_address x0, exception_vectors
    msr     vbar_el1, x0
    msr     cpacr_el1, xzr          // floating point traps, at EL1 and EL0
    mov     x0, #2                  // CNTKCTL_EL1: EL0 may read the virtual counter
    msr     cntkctl_el1, x0
    msr     pmuserenr_el0, xzr      // EL0 has no event counters
    mov     x0, #(1 << 12)          // MDSCR_EL1.TDCC: EL0 has no debug communications channel, no debug events
    msr     mdscr_el1, x0
    msr     tpidr_el1, xzr
    msr     tpidr_el0, xzr
    msr     tpidrro_el0, xzr        // EL0 can read it, and its value after reset is unknown
    msr     contextidr_el1, xzr
    isb
    and     x1, x1, #3
    cbnz    x1, secondary

    load_address x0, __shell_stack_top
    mov     sp, x0
    load_address x0, __bss_start
    load_address x1, __image_end    // the stacks as well, so that a debugger sees how much of them was used
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
    mov     x29, xzr
    mov     x30, xzr
    lsr     x0, x19, #2             // the exception level at entry
    mov     x1, x20                 // the device tree
    bl      kernel_main
2:  wfi
    b       2b

// Cores 1 to 3: wait for the kernel's final tables, switch to them, and park.
secondary:
    load_address x0, __secondary_stack_top_1
    sub     x1, x1, #1
    add     x0, x0, x1, lsl #13     // a stack with its guard has two pages
    mov     sp, x0
    load_address x20, KERNEL_TABLE
1:  ldar    x0, [x20]
    cbnz    x0, 2f
    wfe
    b       1b
2:  bl      install_kernel_table
    load_address x0, boot_table_empty_physical
    ldr     x0, [x0]
    msr     ttbr0_el1, x0
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    mov     x29, xzr
    mov     x30, xzr
.global secondary_parked
secondary_parked:
    wfi
    b       secondary_parked
    .cfi_endproc

// Installs a table for TTBR1; x0: its physical address. The code runs in the identity map of TTBR0, so that no
// translation of the upper half is in use while it changes. From then on nothing that can be written is executed: the
// boot tables map everything for both.
.global install_kernel_table
install_kernel_table:
    .cfi_startproc
    ldr     x1, =IMAGE_OFFSET
    adr     x2, 1f
    sub     x2, x2, x1
    load_address x3, boot_table_empty_physical
    ldr     x3, [x3]
    br      x2
1:  msr     ttbr1_el1, x3
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     ttbr1_el1, x0
    isb
    load_address x2, 2f
    br      x2
2:  mrs     x2, sctlr_el1
    orr     x2, x2, #(1 << 19)      // SCTLR_EL1.WXN
    msr     sctlr_el1, x2
    isb
    tlbi    vmalle1                 // TLBs may hold it
    dsb     nsh
    isb
    ret
    .cfi_endproc

// Exceptions to EL2 and EL3, which the kernel has left for good: the core stays here, for a debugger to see.
.balign 0x800
vectors_above_el1:
    .cfi_startproc
    .cfi_undefined x30
.rept 16
    b       exception_above_el1
    .balign 0x80
.endr
.global exception_above_el1
exception_above_el1:
    wfi
    b       exception_above_el1
    .cfi_endproc

// The tables until the kernel has built its own: RAM from 0 to 1 GiB by identity map, linear map and image map, and the
// devices. The linker fills them in.
.equ TABLE, 3
.equ NORMAL_BLOCK, 0x701            // access flag, inner shareable, MAIR entry 0, block
.equ DEVICE_BLOCK, 0x60000000000405 // access flag, MAIR entry 1, execute-never at both levels, block

.section .data.tables, "aw"
.balign 4096
boot_table_low:
    .quad   boot_table_ram - IMAGE_OFFSET + TABLE
    .fill   511, 8, 0
boot_table_high:
    .quad   boot_table_ram - IMAGE_OFFSET + TABLE       // 0xffff_0000_0000_0000: linear map
    .fill   255, 8, 0
    .quad   boot_table_ram - IMAGE_OFFSET + TABLE       // 0xffff_8000_0000_0000: image
    .fill   127, 8, 0
    .quad   boot_table_devices - IMAGE_OFFSET + TABLE   // 0xffff_c000_0000_0000: devices
    .fill   127, 8, 0
boot_table_ram:
    .quad   NORMAL_BLOCK
    .fill   511, 8, 0
boot_table_devices:
    .fill   3, 8, 0
    .quad   0xc0000000 + DEVICE_BLOCK
    .fill   508, 8, 0
boot_table_empty:
    .fill   512, 8, 0
.global boot_table_empty_physical
boot_table_empty_physical:
    .quad   boot_table_empty - IMAGE_OFFSET
