package chmodel

// viewsOf queues the views of a table behind the slices of a block of it. The views get the whole
// block, slices that were deduplicated included: their own ids keep them from doubling.
func (in *Insert) viewsOf(source, sourceKey string, rows []Row) []slice {
	var out []slice
	for _, v := range in.s.views {
		if v.source == source {
			key := sourceKey
			if in.options.NoViewDedup {
				key = ""
			}
			out = append(out, slice{view: v, key: key, rows: rows})
		}
	}
	return out
}

// runViews turns the views at the head of the queue into slices of their targets. A view that throws
// ends the insert with what the source has landed.
func (in *Insert) runViews() {
	for !in.done && len(in.queue) > 0 && in.queue[0].view != nil {
		todo := in.queue[0]
		in.queue = append(in.expand(todo), in.queue[1:]...)
	}
}

func (in *Insert) expand(todo slice) []slice {
	v := todo.view
	if v.fails || v.options.RefusesPoison && hasPoison(todo.rows) {
		in.s.trace("  view %s throws", v.name)
		if !in.options.IgnoreViewErrors {
			in.finish(Answer{ErrCode: CodeThrowIf, Err: "while pushing to view " + v.name})
		}
		return nil
	}
	target := in.s.tables[v.target]
	if target == nil {
		in.finish(Answer{ErrCode: CodeUnknownTable, Err: "unknown table " + v.target})
		return nil
	}
	rows := todo.rows
	if v.options.SinglePartition {
		rows = make([]Row, len(todo.rows))
		for i, r := range todo.rows {
			r.TablePartition = 0
			rows[i] = r
		}
	}
	key := todo.key
	if key != "" {
		key = viewKey(v.name, key)
	}
	return append(scatter(target, v.target, key, rows), in.viewsOf(v.target, key, rows)...)
}
