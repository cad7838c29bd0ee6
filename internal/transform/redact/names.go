package redact

import "strconv"

// renamer keeps the names of one object apart when some of them are replaced: what two addresses become must not be one name,
// and no name that is there already. The same name twice stays the same name twice, which is for the decoder to refuse.
type renamer struct {
	open  int               // where the object begins
	taken map[string]bool   // the names of the object, and those given
	given map[string]string // the name that another has become
	next  map[string]int    // the number that makes a name unique
}

// memberName redacts the name of a member of an object in s.
func (r *Redactor) memberName(start, end int, s *scope, names *renamer, name []byte) fate {
	out, rule, what := r.redactString(r.walk.text[start:end], s, nil)
	if rule == 0 || what != kept {
		return r.found(start, end, nil, rule, what)
	}
	to, ok := names.given[string(name)]
	if !ok {
		if to, ok = r.unique(out, names); !ok {
			return broken
		}
		names.given[string(name)] = to
	}
	return r.found(start, end, []byte(to), rule, kept)
}

// unique is a name, in quotes, that the object does not have.
func (r *Redactor) unique(quoted []byte, names *renamer) (string, bool) {
	if names.taken == nil {
		names.taken, names.given, names.next = map[string]bool{}, map[string]string{}, map[string]int{}
		r.collectNames(names)
	}
	plain, ok := unquote(&r.plain, quoted)
	if !ok {
		return "", false
	}
	name, number := string(plain), ""
	for n := max(2, names.next[string(plain)]); names.taken[name]; n++ {
		number = " " + strconv.Itoa(n)
		name = string(plain) + number
		names.next[string(plain)] = n + 1
	}
	names.taken[name] = true
	return string(quoted[:len(quoted)-1]) + number + `"`, true
}

// collectNames notes the names that the object has, as far as its text is valid.
func (r *Redactor) collectNames(names *renamer) {
	text := r.walk.text
	for i := names.open; at(text, i) == '{' || at(text, i) == ','; {
		end, value, ok := r.colon(blanks(text, i+1))
		if !ok {
			return
		}
		start := blanks(text, i+1)
		if name, ok := unquote(&r.other, text[start:end]); ok {
			names.taken[string(name)] = true
		}
		if i, ok = skip(text, value, 0); !ok {
			return
		}
		i = blanks(text, i)
	}
}
