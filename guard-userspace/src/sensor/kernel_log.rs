//! What the programs say about themselves: cold paths only, off unless asked for.

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::Error;

/// Bytes of the log's own ring when nothing will ever be written: one page, the least possible.
const SILENT_BYTES: u32 = 4096;

/// Levels of the programs' messages, as aya-log counts them: none, and all.
const SILENT: &u8 = &0;
const EVERYTHING: &u8 = &5;

/// Passes the programs' messages on to `tracing`.
#[derive(Debug)]
pub(crate) struct KernelLog;

impl Log for KernelLog {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Whoever asked for the log wants to read it: no second switch.
        let module = record.module_path().unwrap_or_default();
        tracing::warn!(target: "kernel", module, "{}", record.args());
    }

    fn flush(&self) {}
}

/// Says before loading whether the programs shall log.
pub(crate) fn configure(loader: &mut EbpfLoader<'_>, wanted: bool) {
    loader.override_global(aya_log::LEVEL, if wanted { EVERYTHING } else { SILENT }, true);
    if !wanted {
        loader.map_max_entries("AYA_LOGS", SILENT_BYTES);
    }
}

/// Opens the reader's end.
pub(crate) fn open(ebpf: &mut Ebpf) -> Result<EbpfLogger<KernelLog>, Error> {
    EbpfLogger::init_with_logger(ebpf, KernelLog)
        .map_err(|error| Error::system("open the kernel programs' log", error))
}
