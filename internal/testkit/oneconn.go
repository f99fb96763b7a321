package testkit

import "net"

// OneConn is a listener that hands out one connection, such as an end of net.Pipe,
// and then none. It opens no port, so it goes with a fake clock.
func OneConn(conn net.Conn) net.Listener {
	l := oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- conn
	return l
}

type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l oneConn) Close() error   { close(l.closed); return nil }
func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }
