package status

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"
)

//go:embed assets
var assets embed.FS

// Limits of a Server.
const (
	maxClients = 64   // open streams; further ones are answered with 503
	maxPoints  = 2048 // of the loss curve; older ones are thinned out
	backlog    = 64   // messages that wait for a slow browser before it is dropped
	period     = 500 * time.Millisecond
)

// Point is one value of the loss curve.
type Point struct {
	Step    int      `json:"step"`
	Loss    *float64 `json:"loss,omitempty"`
	ValLoss *float64 `json:"val_loss,omitempty"`
}

// Server serves the page. Its methods may be called from any goroutine.
type Server struct {
	http *http.Server
	addr string
	take func() (Snapshot, bool)
	end  context.CancelFunc
	ctx  context.Context
	wg   sync.WaitGroup

	mu      sync.Mutex
	clients map[chan []byte]bool
	points  []Point
	stride  int // of steps, one is kept of so many
	seen    int
}

// Serve listens at addr, host:port, and serves the page until Close. take returns the newest snapshot, or false when
// there is none any more; it is called twice a second while somebody watches.
func Serve(addr string, take func() (Snapshot, bool)) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{addr: ln.Addr().String(), take: take, clients: map[chan []byte]bool{}, stride: 1}
	s.ctx, s.end = context.WithCancel(context.Background())
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /snapshot.json", s.snapshot)
	s.http = &http.Server{Handler: guard(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return s.ctx }}
	s.wg.Go(func() { s.http.Serve(ln) })
	s.wg.Go(s.push)
	return s, nil
}

// guard adds the headers that keep other sites away from the page.
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// Addr is where the page is served, host:port.
func (s *Server) Addr() string { return s.addr }

// Point adds to the loss curve.
func (s *Server) Point(p Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Loss != nil && p.ValLoss == nil {
		if s.seen++; s.seen%s.stride != 0 {
			return
		}
	}
	s.points = append(s.points, p)
	if len(s.points) > maxPoints {
		s.thin()
	}
	s.send(message("point", p))
}

// thin drops every second step of the curve; evaluations stay, up to a bound.
func (s *Server) thin() {
	kept, i, evals := s.points[:0], 0, 0
	for _, p := range s.points {
		if p.ValLoss != nil {
			if evals++; evals <= maxPoints/4 {
				kept = append(kept, p)
			}
		} else if i++; i%2 == 0 {
			kept = append(kept, p)
		}
	}
	s.points, s.stride = kept, s.stride*2
}

// push sends a snapshot to everybody who watches.
func (s *Server) push() {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		watched := len(s.clients) > 0
		s.mu.Unlock()
		if !watched {
			continue
		}
		if snap, ok := s.take(); ok {
			b := message("state", snap)
			s.mu.Lock()
			s.send(b)
			s.mu.Unlock()
		}
	}
}

// send hands a message to all clients; one that is too slow is dropped, its browser connects again. mu is held.
func (s *Server) send(b []byte) {
	for c := range s.clients {
		select {
		case c <- b:
		default:
			delete(s.clients, c)
			close(c)
		}
	}
}

// message is one server-sent event.
func message(event string, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("null") // a number that JSON lacks: leave it out rather than end the stream
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, b)
}

func (s *Server) snapshot(w http.ResponseWriter, _ *http.Request) {
	snap, ok := s.take()
	if !ok {
		http.Error(w, "the job has ended", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(snap)
}

// events is the stream of a browser.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.take()
	c := make(chan []byte, backlog)
	s.mu.Lock()
	if !ok || len(s.clients) >= maxClients {
		s.mu.Unlock()
		http.Error(w, "too many pages are open, or the job has ended", http.StatusServiceUnavailable)
		return
	}
	first := append(message("history", s.points), message("state", snap)...)
	s.clients[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for b, open := first, true; open; {
		out.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := w.Write(b); err != nil || out.Flush() != nil {
			return
		}
		select {
		case b, open = <-c:
		case <-r.Context().Done():
			return
		}
	}
}

// Close ends all streams and gives the port back.
func (s *Server) Close() error {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.wg.Wait()
	return err
}
