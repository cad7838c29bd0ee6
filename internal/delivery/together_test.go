package delivery

import "testing"

func TestTogether_SaysNoMoreThanIsKnownOfEach(t *testing.T) {
	for _, tt := range []struct {
		answers []Answer
		want    Answer
	}{
		{nil, Landed}, {[]Answer{Landed}, Landed}, {[]Answer{Landed, Landed}, Landed}, {[]Answer{Landed, Deduplicated}, Deduplicated},
		{[]Answer{Deduplicated, Landed, NoAnswer}, NoAnswer}, {[]Answer{Landed, Refused}, Refused}, {[]Answer{Refused, Deduplicated}, Refused},
		{[]Answer{Refused, NoAnswer}, NoAnswer}, {[]Answer{NotSent}, NotSent}, {[]Answer{NotSent, NotSent}, NotSent},
		{[]Answer{NotSent, Landed}, NoAnswer}, {[]Answer{Refused, NotSent}, NoAnswer}, {[]Answer{NoAnswer, Impossible, Landed}, Impossible},
	} {
		if got := Together(tt.answers); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.answers, got, tt.want)
		}
	}
}
