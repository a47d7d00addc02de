//! `kmswatch man`: one manual page of all commands, as roff.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Line, Problem, output};

pub(super) fn man() -> Result<ExitCode, Problem> {
    let page = page().map_err(|error| format!("cannot write the manual page: {error}"))?;
    output::write(page, None)?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> io::Result<Vec<u8>> {
    let mut program = Line::command();
    // Options that hold for all commands, and the commands' full names, come with this.
    program.build();
    let mut page = Vec::new();
    let whole = Man::new(program.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    for command in commands(&program) {
        section(&command, &mut page)?;
    }
    whole.render_extra_section(&mut page)?;
    Ok(page)
}

/// The commands that do something, those of `config` included.
fn commands(of: &Command) -> Vec<Command> {
    let shown = of.get_subcommands().filter(|command| command.get_name() != "help");
    shown
        .flat_map(|command| match command.has_subcommands() {
            true => commands(command),
            false => vec![command.clone()],
        })
        .collect()
}

/// A command's section, without the options that every command has. What would be sections of a page
/// of its own are parts of it.
fn section(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let own = command.clone().mut_args(|argument| {
        let is_everywhere = argument.is_global_set() || argument.get_id() == "help";
        argument.hide(is_everywhere)
    });
    let has_options = own.get_arguments().any(|argument| !argument.is_hide_set());
    let man = Man::new(own);
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_description_section(&mut parts)?;
    if has_options {
        man.render_options_section(&mut parts)?;
    }
    writeln!(page, ".SH {}", name.to_uppercase())?;
    for line in parts.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b".SH ") {
            Some(title) => page.extend([b".SS ", title].concat()),
            None => page.extend(line),
        }
    }
    Ok(())
}
