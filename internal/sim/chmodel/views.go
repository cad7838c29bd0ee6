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
// lands nothing; the source and the other views land all the same, and then the insert fails.
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
		if !in.options.IgnoreViewErrors && in.thrown == nil {
			in.thrown = &Answer{ErrCode: CodeThrowIf, Err: "while pushing to view " + v.name}
		}
		return in.overtaken(nil)
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
		key = viewKey(v, key)
	}
	slices := in.overtaken(scatter(target, v.target, key, rows))
	return append(slices, in.viewsOf(v.target, key, rows)...)
}

// overtaken puts the source's last slice, if it is still to come, before the last of a view's slices.
func (in *Insert) overtaken(slices []slice) []slice {
	if in.late == nil {
		return slices
	}
	at := max(0, len(slices)-1)
	out := append([]slice{}, slices[:at]...)
	out = append(append(out, *in.late), slices[at:]...)
	in.late = nil
	return out
}
