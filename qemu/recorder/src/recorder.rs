//! The plugin's callbacks.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::api::{self, Block, Info, PluginId};
use crate::gate;
use crate::instructions::{Control, Operation, Recorded, control, recorded};
use crate::memory::{PAGE, Ram};
use crate::options::Options;
use crate::pages::Filter;
use crate::ring::{EXCEPTION_ENTRY, Header, MOST_CORES, Position, Record, Ring, Wanted};
use crate::state::{Moment, Place, Saved, State};
use crate::travel::Traveller;

const PUBLISH: Duration = Duration::from_millis(1);
/// QEMU's name of the register of PSTATE.
const PROGRAM_STATUS: &str = "cpsr";
/// PSTATE.I in it: interrupts are masked (C5.2.2 of the Arm manual).
const MASKED: u64 = 1 << 7;
/// The index of the program status, after X0 to X30.
const STATUS: usize = 31;
const REGISTERS: usize = STATUS + 1;
const FRAME_POINTER: usize = 29;
const LINK: usize = 30;
const NO_REGISTER: u8 = 31;
const VECTORS_BYTES: u64 = 0x800;
const VECTOR_BYTES: u64 = 0x80;
const ZERO_BLOCK_BYTES: u64 = 64;
const WAIT_FOR_INTERRUPT: u32 = 0xd503_207f;

pub struct Recorder {
    options: Options,
    version: c_int,
    vectors: [AtomicU64; MOST_CORES],
    registers: OnceLock<[usize; REGISTERS]>,
    sites: Mutex<HashMap<(u64, u32), &'static Site>>,
    filter: OnceLock<Filter>,
    /// How often a reader has named ranges.
    named: AtomicU64,
    state: Mutex<State>,
}

// SAFETY: the pointers in it are QEMU's, and may be used by each of its threads.
unsafe impl Sync for Recorder {}
unsafe impl Send for Recorder {}

/// An instruction whose execution is recorded, at its address; a vector's first one if it is no other.
struct Site {
    pc: u64,
    what: Option<Recorded>,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

fn recorder() -> &'static Recorder {
    RECORDER.get().expect("callbacks are registered after it is set")
}

/// Called by QEMU when it loads the plugin; anything but 0 makes it exit.
///
/// # Safety
///
/// `info` and `arguments` are QEMU's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU gives `count` strings.
    let arguments = (0..count as usize).map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) });
    // SAFETY: QEMU's, for the length of this call.
    let installed = Options::parse(arguments.map(CStr::to_string_lossy))
        .and_then(|options| install(id, unsafe { &*info }, options));
    if let Err(problem) = &installed {
        eprintln!("recorder: {problem}");
    }
    installed.is_err() as c_int
}

fn install(id: PluginId, info: &Info, options: Options) -> Result<(), String> {
    if info.cores as usize > MOST_CORES {
        return Err(format!("{} cores are more than {MOST_CORES}", info.cores));
    }
    let ring = Ring::create(&options.ring, options.records, info.cores as u64);
    let ring = ring.map_err(|error| format!("{}: {error}", options.ring.display()))?;
    if options.travel.is_some() {
        gate::count_as_one(is_masked);
    }
    ring.show_ranges(&options.ranges);
    let recorder = Recorder {
        options,
        version: info.current_version,
        vectors: Default::default(),
        registers: OnceLock::new(),
        sites: Mutex::default(),
        filter: OnceLock::new(),
        named: AtomicU64::new(0),
        state: Mutex::new(State::new(ring)),
    };
    RECORDER.set(recorder).map_err(|_| "it is loaded twice")?;
    let has_id = api::qemu_plugin_version.load(Ordering::Relaxed) < api::VERSION_OF_CALLBACKS_WITHOUT_ID;
    let callbacks: [api::Callback; 2] = if has_id {
        [on_core_with_id as *const c_void, on_block_with_id as *const c_void]
    } else {
        [on_core as *const c_void, on_block as *const c_void]
    };
    // SAFETY: the functions have the signatures that QEMU calls them with.
    unsafe {
        api::qemu_plugin_register_vcpu_init_cb(id, callbacks[0], core::ptr::null_mut());
        api::qemu_plugin_register_vcpu_tb_trans_cb(id, callbacks[1], core::ptr::null_mut());
    }
    for (name, task) in [("recorder", publish as fn()), ("traveller", travel)] {
        let thread = std::thread::Builder::new().name(name.into()).spawn(task);
        thread.map_err(|error| format!("no thread: {error}"))?;
    }
    Ok(())
}

extern "C" fn on_core_with_id(_: PluginId, core: c_uint) {
    on_core(core, core::ptr::null_mut());
}

extern "C" fn on_block_with_id(_: PluginId, block: *mut Block) {
    on_block(block, core::ptr::null_mut());
}

extern "C" fn on_core(_: c_uint, _: *mut c_void) {
    let recorder = recorder();
    recorder.registers.get_or_init(find_registers);
    recorder.find_memory(&mut recorder.locked());
}

/// Has the machine go back, until QEMU ends.
fn travel() {
    let recorder = recorder();
    let Some(options) = &recorder.options.travel else { return };
    while recorder.ram().is_none() {
        std::thread::sleep(PUBLISH);
    }
    if let Err(problem) = Traveller::run(recorder, options) {
        eprintln!("recorder: {problem}");
    }
}

/// Whether interrupts are masked on the core whose callback this is.
fn is_masked() -> bool {
    recorder().known_register(STATUS).is_none_or(|status| status & MASKED != 0)
}

/// Says again and again how far the cores are, and takes requests.
fn publish() {
    loop {
        std::thread::sleep(PUBLISH);
        recorder().publish_once();
    }
}

/// The handles of X0 to X30 and of the program status; 0 for one that QEMU does not name.
fn find_registers() -> [usize; REGISTERS] {
    let mut found = [0; REGISTERS];
    // SAFETY: called in a core's thread; the array is freed, its strings are QEMU's.
    unsafe {
        let all = api::qemu_plugin_get_registers();
        let size = api::g_array_get_element_size(all) as usize;
        for index in 0..(*all).length as usize {
            let entry = &*(*all).data.byte_add(index * size).cast::<api::RegisterDescription>();
            let name = CStr::from_ptr(entry.name).to_str().unwrap_or("");
            let number = name.strip_prefix('x').and_then(|number| number.parse::<usize>().ok());
            if let Some(place) = number.and_then(|number| found[..STATUS].get_mut(number)) {
                *place = entry.handle as usize;
            }
            if name == PROGRAM_STATUS {
                found[STATUS] = entry.handle as usize;
            }
        }
        api::g_array_free(all, 1);
    }
    found
}

extern "C" fn on_block(block: *mut Block, _: *mut c_void) {
    let recorder = recorder();
    let flags_of_first = if recorder.options.travel.is_some() { api::READS_REGISTERS } else { api::NO_REGISTERS };
    let vectors = recorder.vectors.each_ref().map(|one| one.load(Ordering::Relaxed));
    // SAFETY: the block and its instructions are valid during this call; the functions have the right signatures.
    unsafe {
        for index in 0..api::qemu_plugin_tb_n_insns(block) {
            let instruction = api::qemu_plugin_tb_get_insn(block, index);
            let pc = api::qemu_plugin_insn_vaddr(instruction);
            let counts = if index == 0 { gate::on_first } else { gate::on_later };
            let flags = if index == 0 { flags_of_first } else { api::NO_REGISTERS };
            api::qemu_plugin_register_vcpu_insn_exec_cb(instruction, counts, flags, core::ptr::null_mut());
            let is_in = |&base: &u64| base != 0 && pc.wrapping_sub(base) < VECTORS_BYTES;
            if pc.is_multiple_of(VECTOR_BYTES) && vectors.iter().any(is_in) {
                recorder.record_at(instruction, pc, 0, None);
            }
            let code = recorder.code(instruction);
            if code == WAIT_FOR_INTERRUPT {
                let flags = api::NO_REGISTERS;
                api::qemu_plugin_register_vcpu_insn_exec_cb(instruction, gate::on_wait, flags, core::ptr::null_mut());
            }
            if let Some(found) = recorded(code) {
                recorder.record_at(instruction, pc, code, Some(found));
            }
            let flags = api::READS_REGISTERS;
            api::qemu_plugin_register_vcpu_mem_cb(instruction, on_store, flags, api::STORES, pc as *mut c_void);
        }
    }
}

extern "C" fn on_store(core: c_uint, access: u32, address: u64, pc: *mut c_void) {
    let recorder = recorder();
    let Some(filter) = recorder.filter.get() else { return };
    // SAFETY: QEMU's, for this access.
    let (physical, size) = unsafe {
        let found = api::qemu_plugin_get_hwaddr(access, address);
        if found.is_null() || api::qemu_plugin_hwaddr_is_io(found) {
            return;
        }
        (api::qemu_plugin_hwaddr_phys_addr(found), 1u64 << api::qemu_plugin_mem_size_shift(access))
    };
    let crosses = physical % PAGE + size > PAGE;
    if filter.has(physical) || crosses || recorder.options.all {
        recorder.record_store(filter, recorder.moment(core, pc as u64), Place { address, physical, size });
    }
}

extern "C" fn on_instruction(core: c_uint, site: *mut c_void) {
    // SAFETY: it was made by `record_at`.
    let site = unsafe { &*site.cast::<Site>() };
    let recorder = recorder();
    let moment = recorder.moment(core, site.pc);
    match site.what {
        Some(what) => recorder.record_instruction(moment, what),
        None => recorder.locked().push(moment, Record { kind: EXCEPTION_ENTRY, ..Record::default() }),
    }
}

impl Recorder {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic ends QEMU")
    }

    fn moment(&self, core: c_uint, pc: u64) -> Moment {
        let core = gate::counted(core);
        Moment { core, count: gate::count(core), pc }
    }

    #[cold]
    fn record_store(&self, filter: &Filter, moment: Moment, store: Place) {
        let mut state = self.locked();
        let within = store.size.min(PAGE - store.physical % PAGE);
        self.record_words(&mut state, filter, moment, Place { size: within, ..store });
        if within < store.size {
            // QEMU says where the first page is; the second one may be anywhere.
            let address = store.address + within;
            if let Some(physical) = state.translate(moment.core, address) {
                self.record_words(&mut state, filter, moment, Place { address, physical, size: store.size - within });
            }
        }
    }

    /// Records what a store within one page has changed, by words.
    fn record_words(&self, state: &mut State, filter: &Filter, moment: Moment, store: Place) {
        if !filter.has(store.physical) && !self.options.all {
            return;
        }
        let end = store.physical + store.size;
        for word in (store.physical & !7..end).step_by(8) {
            let Some(new) = state.word(word) else { return };
            let physical = word.max(store.physical);
            let address = store.address + (physical - store.physical);
            let place = Place { address, physical, size: (word + 8).min(end) - physical };
            state.change(moment, place, new, &self.options, filter, || self.pointers());
        }
    }

    fn record_instruction(&self, moment: Moment, what: Recorded) {
        let Recorded { operation, code, register } = what;
        let operand = if register == NO_REGISTER { 0 } else { self.register(register as usize) };
        let Some(filter) = self.filter.get() else { return };
        let mut state = self.locked();
        if operation == Operation::ZeroBlock {
            self.record_zeros(&mut state, filter, moment, operand);
            return;
        }
        let mut record = Record { kind: operation as u8, virtual_address: code as u64, ..Record::default() };
        record.new = operand;
        if operation == Operation::SystemWrite {
            record.old = state.control(moment.core, code, operand, filter);
            if control(code) == Control::Vbar {
                self.vectors[moment.core].store(operand, Ordering::Relaxed);
            }
        }
        state.push(moment, record);
    }

    /// Records the block that `DC ZVA` is about to zero.
    fn record_zeros(&self, state: &mut State, filter: &Filter, moment: Moment, address: u64) {
        let address = address & !(ZERO_BLOCK_BYTES - 1);
        let physical = state.translate(moment.core, address);
        let Some(physical) = physical.filter(|&physical| filter.has(physical) || self.options.all) else { return };
        for offset in (0..ZERO_BLOCK_BYTES).step_by(8) {
            let place = Place { address: address + offset, physical: physical + offset, size: 8 };
            state.change(moment, place, 0, &self.options, filter, || self.pointers());
        }
    }

    /// Has the execution of an instruction recorded.
    ///
    /// # Safety
    ///
    /// `instruction` is one of the block that is being translated.
    unsafe fn record_at(&self, instruction: *mut api::Instruction, pc: u64, code: u32, what: Option<Recorded>) {
        let mut sites = self.sites.lock().expect("a panic ends QEMU");
        let site: &'static Site = sites.entry((pc, code)).or_insert_with(|| Box::leak(Box::new(Site { pc, what })));
        let data = core::ptr::from_ref(site).cast_mut().cast();
        // SAFETY: as for this function; the site stays for ever.
        unsafe {
            api::qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_instruction, api::READS_REGISTERS, data);
        }
    }

    /// The code of an instruction.
    ///
    /// # Safety
    ///
    /// `instruction` is one of the block that is being translated.
    unsafe fn code(&self, instruction: *const api::Instruction) -> u32 {
        let mut bytes = [0u8; 4];
        // SAFETY: at most four bytes are copied, or four are read at what is returned.
        unsafe {
            let returned = api::qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len());
            if self.version < api::VERSION_OF_COPIED_INSTRUCTIONS {
                bytes = *(returned as *const [u8; 4]);
            }
        }
        u32::from_le_bytes(bytes)
    }

    /// The frame pointer and the link register.
    fn pointers(&self) -> (u64, u64) {
        (self.register(FRAME_POINTER), self.register(LINK))
    }

    /// The value of a register of the core whose callback this is; 0 if it is not known.
    fn register(&self, number: usize) -> u64 {
        self.known_register(number).unwrap_or(0)
    }

    fn known_register(&self, number: usize) -> Option<u64> {
        let handle = self.registers.get().map_or(0, |all| all[number]);
        // SAFETY: the callbacks that come here were registered with `READS_REGISTERS`; the handle is QEMU's.
        unsafe { api::read_register(handle) }
    }

    /// Begins to record, once QEMU has mapped the guest's memory.
    fn find_memory(&self, state: &mut State) {
        if state.has_memory() {
            return;
        }
        if let Some(ram) = Ram::find(&self.options.ram) {
            state.set_memory(ram, &self.options, self.filter.get_or_init(|| Filter::new(ram.pages())));
        }
    }

    fn publish_once(&self) {
        let mut state = self.locked();
        self.find_memory(&mut state);
        let header = state.ring.header();
        show_counts(header);
        match (self.filter.get(), header.requested()) {
            (Some(filter), Some((request, Wanted::Ranges(ranges)))) => {
                state.name(&ranges, filter);
                self.named.fetch_add(1, Ordering::Relaxed);
                header.answer(request, Ok(()));
            }
            (_, Some((request, Wanted::Checkpoint(..) | Wanted::Travel(_)))) if self.options.travel.is_none() => {
                header.answer(request, Err("the machine was not started so that it can go back".to_owned()));
            }
            _ => {}
        }
        header.published.fetch_add(1, Ordering::Release);
    }

    pub fn publish_counts(&self) {
        show_counts(self.header());
    }

    pub fn header(&self) -> &'static Header {
        self.locked().ring.header()
    }

    pub fn requested(&self) -> Option<(u64, Wanted)> {
        self.header().requested()
    }

    pub fn named(&self) -> u64 {
        self.named.load(Ordering::Relaxed)
    }

    pub fn ram(&self) -> Option<Ram> {
        self.locked().ram()
    }

    /// What is known now, while no core runs.
    pub fn save(&self) -> Saved {
        self.locked().save()
    }

    /// Makes all as it was, while no core runs; the guest's memory is what it was already.
    pub fn restore(&self, saved: &Saved, marks: Vec<Position>) {
        let mut state = self.locked();
        if let Some(filter) = self.filter.get() {
            state.restore(saved, marks, filter);
        }
        self.vectors.iter().zip(state.vectors()).for_each(|(place, base)| place.store(base, Ordering::Relaxed));
    }

    /// Forgets what was recorded after the machine's moment.
    pub fn cut(&self) {
        self.locked().ring.cut();
    }
}

fn show_counts(header: &Header) {
    for (core, place) in header.instructions.iter().enumerate() {
        place.store(gate::count(core), Ordering::Relaxed);
    }
}
