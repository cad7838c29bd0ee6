package lab

import (
	"context"
	osexec "os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/system"
)

// describe says where and with what it is measured.
func (l *Lab) describe(ctx context.Context) (m result.Machine, err error) {
	srv, err := l.startServer(ctx)
	if err != nil {
		return m, err
	}
	defer srv.stop()
	version, err := query(ctx, srv.HTTPAddr(), "SELECT version()")
	if err != nil {
		return m, err
	}
	return result.Machine{CPU: system.CPUModel(), Cores: runtime.NumCPU(), MemoryGiB: system.Memory(), Go: runtime.Version(),
		ClickHouse: version, Commit: commit(ctx), Date: time.Now().UTC().Format(time.DateOnly)}, nil
}

// commit is what the working directory is a checkout of, and whether that is all.
func commit(ctx context.Context) string {
	head, err := osexec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(head))
	changed, err := osexec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", ":/").Output()
	if err != nil || len(changed) > 0 {
		name += " and changes that are not in it"
	}
	return name
}
