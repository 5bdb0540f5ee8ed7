//! The functions of QEMU's plugin interface that are used here (`qemu-plugin.h`, interface versions 2 to 7, QEMU 9.0 to
//! 11), and of GLib, which QEMU contains. They are declared by hand: no distribution packages the header.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::sync::atomic::{AtomicI32, Ordering};

/// The interface version that QEMU is to use, which it reads once the plugin is loaded: the oldest one, for QEMUs that
/// still accept it; else that of the callbacks without the plugin's ID.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: AtomicI32 = AtomicI32::new(2);

/// From this interface version on, no callback gets the plugin's ID, and each gets the data it was registered with.
pub const VERSION_OF_CALLBACKS_WITHOUT_ID: c_int = 7;

/// A function that QEMU has since that version.
const NEW_FUNCTION: &CStr = c"qemu_plugin_set_pc";

/// Called when the plugin is loaded.
extern "C" fn choose_version() {
    // SAFETY: only looks for a symbol in all that is loaded.
    if !unsafe { dlsym(core::ptr::null_mut(), NEW_FUNCTION.as_ptr()) }.is_null() {
        qemu_plugin_version.store(VERSION_OF_CALLBACKS_WITHOUT_ID, Ordering::Relaxed);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = choose_version;

/// From this interface version on, an instruction's bytes are copied into the caller's buffer.
pub const VERSION_OF_COPIED_INSTRUCTIONS: c_int = 3;

pub type PluginId = u64;

/// What QEMU says of itself at the start. Only the fields that are used.
#[repr(C)]
pub struct Info {
    pub target_name: *const c_char,
    pub minimum_version: c_int,
    pub current_version: c_int,
    pub system_emulation: bool,
    pub cores: c_int,
    pub most_cores: c_int,
}

/// Opaque: a translation block, and one of its instructions.
pub enum Block {}
pub enum Instruction {}
pub enum PhysicalAddress {}
pub enum Register {}

/// GLib's `GByteArray`.
#[repr(C)]
pub struct ByteArray {
    pub data: *mut u8,
    pub length: c_uint,
}

/// GLib's `GArray`.
#[repr(C)]
pub struct Array {
    pub data: *mut c_void,
    pub length: c_uint,
}

/// The first fields of a register's description; interface version 7 has more.
#[repr(C)]
pub struct RegisterDescription {
    pub handle: *mut Register,
    pub name: *const c_char,
    pub feature: *const c_char,
}

pub const NO_REGISTERS: c_int = 0;
pub const READS_REGISTERS: c_int = 1;
pub const STORES: c_int = 2;

/// A callback of the plugin: its signature depends on the interface version.
pub type Callback = *const c_void;
pub type OnInstruction = extern "C" fn(c_uint, *mut c_void);
pub type OnAccess = extern "C" fn(c_uint, u32, u64, *mut c_void);

unsafe extern "C" {
    /// Before the version of callbacks without the ID it takes no data; the C calling convention lets it be given some.
    pub fn qemu_plugin_register_vcpu_init_cb(id: PluginId, function: Callback, data: *mut c_void);
    /// As above.
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, function: Callback, data: *mut c_void);
    pub fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        function: OnInstruction,
        flags: c_int,
        data: *mut c_void,
    );
    pub fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut Instruction,
        function: OnAccess,
        flags: c_int,
        kinds: c_int,
        data: *mut c_void,
    );
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    pub fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    /// In version 2 it takes the instruction alone and returns a pointer to its bytes; the C calling convention lets
    /// it be called with more.
    pub fn qemu_plugin_insn_data(instruction: *const Instruction, buffer: *mut c_void, length: usize) -> usize;
    pub fn qemu_plugin_mem_size_shift(access: u32) -> c_uint;
    pub fn qemu_plugin_get_hwaddr(access: u32, address: u64) -> *mut PhysicalAddress;
    pub fn qemu_plugin_hwaddr_is_io(address: *const PhysicalAddress) -> bool;
    pub fn qemu_plugin_hwaddr_phys_addr(address: *const PhysicalAddress) -> u64;
    pub fn qemu_plugin_get_registers() -> *mut Array;
    pub fn qemu_plugin_read_register(register: *mut Register, bytes: *mut ByteArray) -> c_int;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    pub fn g_byte_array_new() -> *mut ByteArray;
    pub fn g_byte_array_set_size(bytes: *mut ByteArray, length: c_uint) -> *mut ByteArray;
    pub fn g_array_get_element_size(array: *mut Array) -> c_uint;
    pub fn g_array_free(array: *mut Array, segment: c_int) -> *mut c_char;
}

/// The value of a register of the core whose callback this is, of at most 8 bytes; None if QEMU does not give it.
///
/// # Safety
///
/// The callback was registered with `READS_REGISTERS`; `handle` is QEMU's, or 0 for a register that it does not have.
pub unsafe fn read_register(handle: usize) -> Option<u64> {
    if handle == 0 {
        return None;
    }
    thread_local! {
        // SAFETY: a new array, which stays for ever.
        static BYTES: *mut ByteArray = unsafe { g_byte_array_new() };
    }
    // SAFETY: as for this function; QEMU appends the value.
    BYTES.with(|&bytes| unsafe {
        g_byte_array_set_size(bytes, 0);
        qemu_plugin_read_register(handle as *mut Register, bytes);
        let length = (*bytes).length as usize;
        let mut value = [0; 8];
        value.get_mut(..length)?.copy_from_slice(core::slice::from_raw_parts((*bytes).data, length));
        (length != 0).then(|| u64::from_le_bytes(value))
    })
}
