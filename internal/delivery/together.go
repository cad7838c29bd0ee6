package delivery

import "slices"

// Together is the answer to requests that were sent side by side for one Send: its rows in several tables, each under a token of
// its own with the same number in its chain. For the machine they are one store. It says no more than is known of each: Landed, that
// all of them have landed; Deduplicated and Refused, that all were answered, so that none of their tokens is unused; NotSent, that
// none was sent; Fenced, that one of the tables takes nothing of the batch's epoch, whatever became of the others.
func Together(answers []Answer) Answer {
	for _, a := range []Answer{Fenced, Impossible, NoAnswer, NotSent, Refused, Deduplicated} {
		switch {
		case !slices.Contains(answers, a):
		case a == NotSent && slices.ContainsFunc(answers, func(o Answer) bool { return o != a }):
			return NoAnswer
		default:
			return a
		}
	}
	return Landed
}
