package engine

import (
	"errors"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
)

func TestStanding_TheEpochFollowsTheTable(t *testing.T) {
	t.Parallel()
	const first, second, none = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b", "00000000-0000-0000-0000-000000000000"
	all := []ledger.Generation{ // one backfill; a rollback from it; one that is under way, made with a file of epoch 5
		{Table: second, Epoch: 3, FileEpoch: 2}, {Table: first, Epoch: 4, FileEpoch: 2}, {Table: second, Epoch: 6, FileEpoch: 5},
	}
	for _, c := range []struct {
		name  string
		file  waybill.Epoch
		all   []ledger.Generation
		table string
		want  Standing
		err   error
	}{
		{"nothing on record", 2, nil, first, Standing{Epoch: 2}, nil},
		{"the table that was there before", 2, all[:1], first, Standing{Epoch: 2}, nil},
		{"promoted", 2, all[:1], second, Standing{Epoch: 3, Superseded: 3}, nil},
		{"taken back", 2, all[:2], first, Standing{Epoch: 4, Superseded: 4}, nil},
		{"of several the highest", 5, all, second, Standing{Epoch: 6, Superseded: 6}, nil},
		{"raised to one that a backfill has used", 3, all[:1], first, Standing{}, errEpochTaken},
		{"raised to the one that it has by the table", 3, all[:1], second, Standing{}, errEpochTaken},
		{"raised, but not past all backfills", 4, all[:2], second, Standing{}, errEpochTaken},
		{"raised past them", 7, all, second, Standing{Epoch: 7, Superseded: 6}, nil},
		{"raised past one that is not live yet", 5, all[:1], first, Standing{Epoch: 5}, nil},
		{"an older file", 2, all, second, Standing{}, errEpochOld},
		{"a table without a UUID", 2, append(all[:1:1], ledger.Generation{Table: none, Epoch: 9}), none, Standing{Epoch: 2}, nil},
	} {
		if got, err := standing(c.file, c.all, c.table); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
}
