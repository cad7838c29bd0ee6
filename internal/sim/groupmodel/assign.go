package groupmodel

import "slices"

// assign is the cooperative sticky assignor: as even as can be, moving as little as it can. A partition
// that has to move is given to nobody in the generation in which its owner is told to let go.
func assign(members []*member, partitions int32, pins map[int32]string) {
	owner := claims(members, partitions)
	target := balance(members, partitions, owner, pins)
	for _, m := range members {
		m.assigned = nil
	}
	for p := range partitions {
		if to := target[p]; owner[p] == nil || owner[p] == to {
			to.assigned = append(to.assigned, p)
		}
	}
}

// claims says who owns what, by what the members said when they joined; of two claims the one of the
// later generation counts.
func claims(members []*member, partitions int32) map[int32]*member {
	owner := map[int32]*member{}
	for _, m := range members {
		for _, p := range m.claims {
			if o := owner[p]; p < partitions && (o == nil || m.claimGen > o.claimGen) {
				owner[p] = m
			}
		}
	}
	return owner
}

func balance(members []*member, partitions int32, owner map[int32]*member, pins map[int32]string) map[int32]*member {
	owned := map[*member]int{}
	for _, m := range owner {
		owned[m]++
	}
	// Those who own most get the odd ones, so that nothing moves for nothing.
	ranked := slices.Clone(members)
	slices.SortStableFunc(ranked, func(a, b *member) int { return owned[b] - owned[a] })
	room := map[*member]int{}
	for i, m := range ranked {
		room[m] = int(partitions) / len(ranked)
		if i < int(partitions)%len(ranked) {
			room[m]++
		}
	}
	target := map[int32]*member{}
	give := func(p int32, m *member) { target[p] = m; room[m]-- }
	for p := range partitions {
		if i := slices.IndexFunc(members, func(m *member) bool { return m.name == pins[p] }); i >= 0 {
			give(p, members[i])
		}
	}
	for p := range partitions {
		if o := owner[p]; target[p] == nil && o != nil && room[o] > 0 {
			give(p, o)
		}
	}
	for p := range partitions {
		if target[p] != nil {
			continue
		}
		give(p, slices.MaxFunc(ranked, func(a, b *member) int { return room[a] - room[b] }))
	}
	return target
}
