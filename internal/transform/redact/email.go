package redact

import "bytes"

// emails finds addresses: at every @, or %40 as URLs have it, what is before it and a domain after it. Characters that
// addresses may have but that rather stand beside one (= / ? & | { } and quotes) end it. Letters beyond ASCII count only where there is
// no address without them: text in Chinese or Japanese has no blanks around addresses.
func (f *finder) emails() {
	done := 0 // what is before it is no part of a further address
	for at, plain := 0, -1; at <= len(f.text); {
		i, width, next := f.nextAt(at, plain)
		if i == len(f.text) {
			return
		}
		plain = next
		at = i + width
		start, end := f.local(i, done), f.domain(at)
		if start < i && end > 0 {
			f.add(start, end, email)
			at, done = end, end
			continue
		}
		done = i
	}
}

// nextAt is the next @ at i or after it; plain is the next one that is not coded, if that is known already.
func (f *finder) nextAt(i, plain int) (at, width, nextPlain int) {
	if plain < i {
		if plain = bytes.IndexByte(f.text[i:], '@'); plain < 0 {
			plain = len(f.text)
		} else {
			plain += i
		}
	}
	if coded := bytes.Index(f.text[i:plain], []byte("%40")); coded >= 0 {
		return i + coded, 3, plain
	}
	return plain, 1, plain
}

// local is where the part before the @ at i begins, not before floor; i if there is none.
func (f *finder) local(i, floor int) int {
	start := i
	wide := f.at(i-1) >= 0x80
	for start > floor && (f.is(start-1, isLocal) || wide && f.text[start-1] >= 0x80) {
		start--
	}
	return start
}

// domain is where the domain at i ends; -1 if there is none.
func (f *finder) domain(i int) int {
	if end := f.labels(i, false); end > 0 {
		return end
	}
	return f.labels(i, true)
}

// labels reads labels with dots between them. The domain ends with the last one that may be a top-level domain, with one
// before it at least. Bytes beyond ASCII are letters if wide.
func (f *finder) labels(i int, wide bool) int {
	end := -1
	for start := i; ; {
		j := start
		for f.is(j, isWord) || f.at(j) == '-' || wide && f.at(j) >= 0x80 {
			j++
		}
		if start > i {
			if top := f.topLevel(start, j); top > 0 {
				end = top
			}
		}
		if j == start || f.at(j) != '.' {
			return end
		}
		start = j + 1
	}
}

// topLevel is where a top-level domain ends that begins the label: two letters or more, or xn-- and what follows. A hyphen
// behind it is no part of it.
func (f *finder) topLevel(start, end int) int {
	if f.after(start, "xn--") > 0 {
		return end
	}
	j := start
	for j < end && class[f.text[j]]&isDigit == 0 && f.text[j] != '-' {
		j++
	}
	if j-start < 2 || f.is(j, isDigit) {
		return -1
	}
	return j
}
