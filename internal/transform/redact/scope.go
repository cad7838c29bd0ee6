package redact

import "github.com/waybill-data/waybill/internal/contract"

// node is a place that paths of rules lead through or to.
type node struct {
	members  map[string]*node
	elements map[int]*node
	each     *node
	rules    []int // that end here
}

// add makes the nodes of a rule's path; the empty path is the whole event.
func (n *node) add(path string, rule int) error {
	var steps contract.Path
	if path != "" {
		var err error
		if steps, err = contract.ParsePath(path); err != nil {
			return err
		}
	}
	for _, s := range steps {
		n = n.child(s)
	}
	n.rules = append(n.rules, rule)
	return nil
}

func (n *node) child(s contract.Step) *node {
	switch s.Kind {
	case contract.Each:
		if n.each == nil {
			n.each = &node{}
		}
		return n.each
	case contract.Element:
		return grow(&n.elements, s.Index)
	}
	return grow(&n.members, s.Name)
}

func grow[K comparable](m *map[K]*node, key K) *node {
	if *m == nil {
		*m = map[K]*node{}
	}
	if (*m)[key] == nil {
		(*m)[key] = &node{}
	}
	return (*m)[key]
}

// scope is what the policy says of a value: what covers it, and which paths lead on from it.
type scope struct {
	lo, hi int               // its part of Redactor.nodes
	whole  int               // the rule that takes the value as a whole, plus one; 0: none
	detect [numDetectors]int // for each detector the rule that uses it, plus one; 0: none
	on     set               // the detectors of detect
}

// idle: nothing is to be done here or below.
func (s *scope) idle() bool { return s.lo == s.hi && s.whole == 0 && s.on == 0 }

// top is the scope of an event.
func (r *Redactor) top() scope {
	r.nodes = r.nodes[:0]
	var s scope
	r.enter(&s, r.root)
	s.hi = len(r.nodes)
	return s
}

// enter adds what the rules that end at n say.
func (r *Redactor) enter(s *scope, n *node) {
	r.nodes = append(r.nodes, n)
	for _, i := range n.rules {
		r.cover(s, i)
	}
}

// cover adds a rule to those that cover the scope.
func (r *Redactor) cover(s *scope, i int) {
	if r.rules[i].detect == 0 {
		if s.whole == 0 || i+1 < s.whole {
			s.whole = i + 1
		}
		return
	}
	s.on |= r.rules[i].detect
	for d := range s.detect {
		if r.rules[i].detect.has(detector(d)) && (s.detect[d] == 0 || i+1 < s.detect[d]) {
			s.detect[d] = i + 1
		}
	}
}

// member is the scope of an object's member. The caller cuts Redactor.nodes back to lo of it afterwards.
func (r *Redactor) member(s *scope, name []byte) scope {
	out := *s
	out.lo = len(r.nodes)
	for i := s.lo; i < s.hi; i++ {
		if n := r.nodes[i].members[string(name)]; n != nil {
			r.enter(&out, n)
		}
	}
	out.hi = len(r.nodes)
	return out
}

// element is the scope of an array's element, likewise.
func (r *Redactor) element(s *scope, index int) scope {
	out := *s
	out.lo = len(r.nodes)
	for i := s.lo; i < s.hi; i++ {
		if n := r.nodes[i].elements[index]; n != nil {
			r.enter(&out, n)
		}
		if n := r.nodes[i].each; n != nil {
			r.enter(&out, n)
		}
	}
	out.hi = len(r.nodes)
	return out
}
