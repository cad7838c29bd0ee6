package groupmodel

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Fingerprint is a hash of all that can influence future answers.
func (b *Broker) Fingerprint() uint64 {
	h := fnv.New64a()
	h.Write([]byte(b.Dump()))
	return h.Sum64()
}

// Dump is the broker's state as text, the same for the same state, for transcripts.
func (b *Broker) Dump() string {
	var w strings.Builder
	fmt.Fprintf(&w, "topic %s id=%d joins=%d\n", b.cfg.Topic, b.topicID, b.joins)
	for p, l := range b.logs {
		fmt.Fprintf(&w, "  %d [%d,%d) leader epoch %d %v\n", p, l.start, l.end, l.leaderEpoch, l.records)
	}
	g := &b.group
	fmt.Fprintf(&w, "group %s generation=%d leader=%s deadline=%d pins=%v failing=%v\n", g.state, g.generation, g.leader, g.deadline, g.pins, g.failCommit)
	for _, m := range g.inOrder() {
		fmt.Fprintf(&w, "  member %s\n", m)
	}
	for _, p := range sortedKeys(g.offsets) {
		fmt.Fprintf(&w, "  committed %+v\n", g.offsets[p])
	}
	for _, name := range sortedKeys(b.clients) {
		fmt.Fprintf(&w, "  client %+v\n", *b.clients[name])
	}
	return w.String()
}
