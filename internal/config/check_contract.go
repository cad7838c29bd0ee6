package config

import (
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// checkContract compiles the contract against a table that is exactly as the contract says, to find
// what no table could mend. Columns that have a problem already are left alone: more would be said
// about the same mistake.
func (r *reader) checkContract(p *Pipeline) {
	_, err := contract.Compile(p.Contract, p.PromisedTable(), p.Sink.ClickHouse.Lineage, 0)
	for _, cp := range contract.Problems(err) {
		path := p.at + "contract.columns." + cp.Column
		if cp.Table || cp.Line == 0 || r.hasProblem(path) {
			continue
		}
		r.problems = append(r.problems, r.src.problem(cp.Line, cp.Col, path, path+": "+cp.Message, ""))
	}
}

// PromisedTable is a table exactly as the contract says, with lineage columns and a rescue column of String.
func (p *Pipeline) PromisedTable() contract.TableSchema {
	c := p.Sink.ClickHouse
	return contract.Promised(p.Contract, c.Lineage, c.Database, c.Table)
}

func (r *reader) hasProblem(path string) bool {
	for _, p := range r.problems {
		if p.Path == path || strings.HasPrefix(p.Path, path+".") {
			return true
		}
	}
	return false
}

// ContractProblems turns the error of contract.Compile into Problems with lines of the pipeline's
// file: what the contract and the real table disagree about. It is nil if err holds none of them.
func (p *Pipeline) ContractProblems(err error) Problems {
	var out Problems
	for _, cp := range contract.Problems(err) {
		path := p.at + "contract.columns." + cp.Column
		if cp.Line == 0 {
			out = append(out, Problem{File: p.File, Path: p.tablePath(), Message: cp.Column + ": " + cp.Message})
			continue
		}
		out = append(out, p.ProblemAt(cp.Line, cp.Col, path, path+": "+cp.Message, ""))
	}
	return out
}
