package ledger

// Version 13: of which version what was kept of a dead letter's event is.

// A redacted event is kept as it was decoded, and so of the version that was current then. Its replay must not bring it there once more.
const versionDeadLetters = `
ALTER TABLE %s.dead_letters
    ADD COLUMN IF NOT EXISTS version LowCardinality(String) COMMENT 'of the event as it was kept, where redaction has kept it of another version than it came in; empty: it says so itself, or is as it came' AFTER header_values`

var createVersionedLettersView = lettersView("toString(d.version)")
