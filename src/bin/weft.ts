#!/usr/bin/env node
/** The executable: reads the command line, starts one process. */
import { runCommandLine } from '../cli/program.ts';
import { processTerminal } from '../cli/terminal.ts';
import { version } from '../model/version.ts';

process.exitCode = await runCommandLine(process.argv.slice(2), version, processTerminal());
