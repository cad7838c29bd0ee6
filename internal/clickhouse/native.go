package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"net"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// nativeConn speaks the native protocol. ch-go shakes hands, sends statements and reads every packet; the block of an INSERT
// is sent here, because ch-go compresses a block as one frame and keeps two copies of it.
type nativeConn struct {
	ch     *ch.Client
	raw    net.Conn // the socket: closing it ends whatever is going on
	wire   net.Conn // what is written to: raw, or TLS over it
	method method
	buf    proto.Buffer // for the few bytes of a block that are not a column's
}

func dialNative(ctx context.Context, raw, wire net.Conn, cfg Config) (*nativeConn, error) {
	m := cfg.Compression.method(raw.RemoteAddr())
	o := ch.Options{
		User:             cfg.User,
		Password:         cfg.Password,
		Database:         cfg.Database,
		ClientName:       clientName,
		ProtocolVersion:  revision,
		HandshakeTimeout: cfg.DialTimeout,
		ReadTimeout:      ch.NoTimeout, // conn.run closes the socket when its context ends
	}
	if m != methodNone {
		o.Compression = ch.CompressionLZ4 // all that ch-go compresses itself are empty blocks
	}
	client, err := ch.Connect(ctx, wire, o)
	if err != nil {
		return nil, err
	}
	return &nativeConn{ch: client, raw: raw, wire: wire, method: m}, nil
}

func (n *nativeConn) hello() proto.ServerHello { return n.ch.ServerInfo() }
func (n *nativeConn) reusable() bool           { return !n.ch.IsClosed() }

func (n *nativeConn) do(ctx context.Context, st *statement) error {
	q := ch.Query{Body: st.body, QueryID: st.queryID, Settings: st.settings}
	if st.onEvents != nil {
		q.OnProfileEvents = func(_ context.Context, batch []ch.ProfileEvent) error {
			st.onEvents(batch)
			return nil
		}
	}
	if st.input != nil {
		return n.insert(ctx, q, st.input)
	}
	if st.result != nil {
		q.Result = st.result
		q.OnResult = func(_ context.Context, b proto.Block) error {
			if b.Rows == 0 {
				return nil
			}
			return st.onRows(b.Rows)
		}
	}
	return n.ch.Do(ctx, q)
}

// insert sends the block once the server has asked for it, by the empty block that shows its columns, while ch-go goes on
// reading: a server that refuses in the middle of the block is heard.
func (n *nativeConn) insert(ctx context.Context, q ch.Query, input proto.Input) error {
	var sent chan error // made when the server asks
	q.Result = &proto.ColInfoInput{}
	q.OnResult = func(context.Context, proto.Block) error {
		if sent != nil {
			return errors.New("the server asked for a second block")
		}
		sent = make(chan error, 1)
		go func() { sent <- n.send(input) }()
		return nil
	}
	err := n.ch.Do(ctx, q)
	if sent == nil {
		if err == nil {
			err = errors.New("the server did not ask for the block")
		}
		return err
	}
	if err != nil {
		_ = n.raw.Close() // nobody may read what is still being sent
	}
	return errors.Join(err, <-sent)
}

// send writes the block and the empty one that ends the data. A failure of the network is left to the reader, who may find
// the server's reason; one of our own ends the connection.
func (n *nativeConn) send(input proto.Input) error {
	write := n.writePlain
	if n.method != methodNone {
		write = n.writeFramed
	}
	err := write(input)
	var network net.Error
	if err != nil && !errors.As(err, &network) {
		_ = n.raw.Close()
	}
	return err
}

// dataPacket begins a block: the packet's number and the name of no temporary table.
func dataPacket(b *proto.Buffer) {
	proto.ClientCodeData.Encode(b)
	proto.ClientData{}.EncodeAware(b, revision)
}

// blockInfo is what ch-go sends for a full and for an empty block.
func blockInfo(input proto.Input) func(*proto.Buffer) {
	if input == nil {
		return proto.BlockInfo{}.Encode
	}
	return proto.BlockInfo{BucketNum: -1}.Encode
}

// writePlain hands all columns to the kernel in one vector.
func (n *nativeConn) writePlain(input proto.Input) error {
	w := proto.NewWriter(n.wire, &n.buf)
	for _, block := range []proto.Input{input, nil} {
		w.ChainBuffer(dataPacket)
		w.ChainBuffer(blockInfo(block))
		if err := chainBlock(w, block); err != nil {
			return err
		}
	}
	_, err := w.Flush()
	return err
}

// writeFramed compresses and sends frame by frame. Frames end where the block ends: the next packet's number is not in one.
func (n *nativeConn) writeFramed(input proto.Input) error {
	const gathered = 4096 // small writes are joined up to this; frames are longer and not copied
	to := bufio.NewWriterSize(n.wire, gathered)
	frames := newFramer(n.method, to)
	defer frames.release()
	w := proto.NewWriter(frames, &n.buf)
	for _, block := range []proto.Input{input, nil} {
		var packet proto.Buffer
		dataPacket(&packet)
		if _, err := to.Write(packet.Buf); err != nil {
			return err
		}
		w.ChainBuffer(blockInfo(block))
		if err := chainBlock(w, block); err != nil {
			return err
		}
		if _, err := w.Flush(); err != nil {
			return err
		}
		if err := frames.flush(); err != nil {
			return err
		}
	}
	return to.Flush()
}
