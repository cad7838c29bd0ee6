package expr

import "github.com/waybill-data/waybill/internal/contract"

// Find is the text of the value at a path of the event, which has no [*]; nil if there is none. Of several members of one
// name it takes the first. It aliases the event.
func (r *Record) Find(p contract.Path) []byte {
	d, at := &r.event, int32(0)
	for _, s := range p {
		if at = d.step(at, s); at < 0 {
			return nil
		}
	}
	n := d.nodes[at]
	return d.text[n.start:n.end]
}

// step is the node that a step leads to, -1 if there is none.
func (d *document) step(at int32, s contract.Step) int32 {
	switch open := d.text[d.nodes[at].start]; {
	case open == '{' && s.Kind == contract.Member:
		for i := at + 1; i < d.nodes[at].next; i = d.nodes[i+1].next {
			if d.is(i, s.Name) {
				return i + 1
			}
		}
	case open == '[' && s.Kind == contract.Element:
		n := 0
		for i := at + 1; i < d.nodes[at].next; i = d.nodes[i].next {
			if n == s.Index {
				return i
			}
			n++
		}
	}
	return -1
}

// Event is the text of the event.
func (r *Record) Event() []byte { return r.event.text }
