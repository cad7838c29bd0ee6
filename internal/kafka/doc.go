// Package kafka is the adapter over franz-go: group membership, fetching, offset commits with metadata, and reading a
// span again. It is the only package that knows a broker's error codes.
//
// It decides nothing about delivery. What it promises to the one who does:
//
//   - A Session is one membership of the consumer group, never two: when the client is thrown out and would quietly
//     join again under another member id, the Session is over (Done, Err) and says so. To leave and rejoin is to close a
//     Session and open another.
//   - Nothing is fetched for an assigned partition before Start, and nothing of a revoked one is returned by Poll once
//     the Revoked or Lost callback has run. No position is ever chosen or moved by the client.
//   - A commit is one request, sent at most once. Its generation is taken before the offsets are.
//   - A partition that meets an error stops, with the error returned by Poll; only Start sets it going again.
//
// Two kgo clients serve a Session: one is the group's member and fetches nothing; the other reads partitions and is in no
// group. That is what makes "fetches nothing until told" hold by construction rather than by pausing in time.
package kafka
