//! The shell on the serial console.

mod bench;
pub mod context_test;
mod control;
mod fault_test;
mod input;
mod memory;
pub mod pool;
mod requests;
mod snapshot;
mod stress;
pub mod verdict;

use crate::console::{self, Console};
use crate::cpu::without_interrupts;
use crate::scheduler;
use crate::{print, println};
use input::Line;
use tinyos::console_input::CONSOLE_INPUT;
use tinyos::text::tasks::describe_end;

/// The words after a command.
pub type Words<'a> = core::str::SplitAsciiWhitespace<'a>;

/// A command of the shell.
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub about: &'static str,
    /// Runs the command. Returns an error message if its words are wrong.
    pub run: fn(Words) -> Result<(), &'static str>,
}

/// All commands except those of the submenu.
const COMMANDS: &[&[Command]] =
    &[&[Command { name: "help", usage: "help", about: "this list (also h, ?)", run: help }], control::COMMANDS];

/// The current menu: the main menu, or the `*` submenu.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Menu {
    Main,
    Memory,
}

impl Menu {
    fn prompt(self) -> &'static str {
        match self {
            Menu::Main => "tinyos> ",
            Menu::Memory => "tinyos*> ",
        }
    }
}

/// Reads lines and runs them as commands, forever.
pub fn run() -> ! {
    let mut menu = Menu::Main;
    let mut line = Line::new();
    let mut lost = 0;
    announce_ends();
    print!("{}", menu.prompt());
    loop {
        if let Some(text) = line.read() {
            menu = run_line(menu, text.trim());
            line.clear();
            announce_ends();
            announce_lost_input(&mut lost);
            print!("{}", menu.prompt());
        }
        let served = requests::serve();
        if served || announce_ends_below_prompt() {
            print!("{}{}", menu.prompt(), line.text());
        }
        scheduler::shell_wait_for_input(console::has_input);
    }
}

fn run_line(menu: Menu, text: &str) -> Menu {
    let mut words = text.split_ascii_whitespace();
    let Some(name) = words.next() else { return menu };
    if menu == Menu::Memory && matches!(name, "q" | "quit" | "exit" | "..") {
        return Menu::Main;
    }
    let result = match (menu, name.strip_prefix('*')) {
        (_, Some("")) => match words.next() {
            None => return Menu::Memory,
            Some(letter) => memory::run(letter, words),
        },
        (_, Some(letter)) => memory::run(letter, words),
        (Menu::Memory, None) => memory::run(name, words),
        (Menu::Main, None) => run_command(name, words),
    };
    if let Err(message) = result {
        println!("{name}: {message}");
    }
    menu
}

fn run_command(name: &str, words: Words) -> Result<(), &'static str> {
    let name = if matches!(name, "h" | "?") { "help" } else { name };
    let found = COMMANDS.iter().copied().flatten().find(|command| command.name == name);
    match found {
        Some(command) => (command.run)(words).inspect_err(|_| println!("usage: {}", command.usage)),
        None => Err("unknown command; h for help"),
    }
}

fn help(_: Words) -> Result<(), &'static str> {
    for command in COMMANDS.iter().copied().flatten() {
        println!("{:<28} {}", command.usage, command.about);
    }
    println!("{:<28} {}", "*", "dynamic memory submenu; its commands work here as well:");
    memory::help();
    Ok(())
}

/// Reports the tasks that ended by themselves.
fn announce_ends() {
    while let Some(task) = scheduler::take_unannounced() {
        let _ = describe_end(&task, &mut Console);
    }
}

/// As [`announce_ends`], when the line has a prompt already. Returns whether it reported anything.
fn announce_ends_below_prompt() -> bool {
    let Some(task) = scheduler::take_unannounced() else { return false };
    println!();
    let _ = describe_end(&task, &mut Console);
    announce_ends();
    true
}

/// Says that input was lost, if that has happened since `known` overruns and errors of the line.
fn announce_lost_input(known: &mut u64) {
    let (overruns, errors) =
        without_interrupts(|| CONSOLE_INPUT.read(|input| (input.overrun_count, input.line_error_count)));
    if core::mem::replace(known, overruns + errors) != overruns + errors {
        println!("console: input was lost: {overruns} overruns and {errors} line errors since boot");
    }
}

/// Takes a whole number from `words`.
pub fn number(words: &mut Words) -> Result<u64, &'static str> {
    parse(words.next().ok_or("a number is missing")?)
}

/// Parses a whole number: decimal, or hexadecimal with the prefix `0x`.
pub fn parse(word: &str) -> Result<u64, &'static str> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| "not a whole number")
}
