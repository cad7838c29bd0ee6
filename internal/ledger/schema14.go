package ledger

// Version 14: which other tables have changed places with a backfill's.

const widenPromotions = `
ALTER TABLE %s.promotions
    ADD COLUMN IF NOT EXISTS views Array(String) COMMENT 'database.table: what materialized views fill, and has been made anew along' AFTER target`
