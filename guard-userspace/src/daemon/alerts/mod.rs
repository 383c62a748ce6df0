//! Telling people: the journal, a program, a webhook.
