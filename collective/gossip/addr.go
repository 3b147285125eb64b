package gossip

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// split cuts host:port; a missing port is def.
func split(addr string, def int) (host string, port int, err error) {
	if !strings.Contains(addr, ":") || net.ParseIP(addr) != nil {
		return addr, def, nil
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("port %q is no number from 0 to 65535", p)
	}
	return host, port, nil
}

// advertise resolves the address that others use to an IP address and a port.
func advertise(addr string, port int) (string, int, error) {
	host, port, err := split(addr, port)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: cannot advertise %q: %w", addr, err)
	}
	if net.ParseIP(host) != nil {
		return host, port, nil
	}
	ips, err := net.LookupHost(host)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: cannot advertise %q: %w; give --advertise an address that other hosts reach", addr, err)
	}
	return ips[0], port, nil
}

// resolve returns the addresses of a seed, ip:port.
func resolve(seed string) ([]string, error) {
	host, port, err := split(seed, DefaultPort)
	if err != nil {
		return nil, fmt.Errorf("seed %q: %w", seed, err)
	}
	ips := []string{host}
	if net.ParseIP(host) == nil {
		if ips, err = net.LookupHost(host); err != nil {
			return nil, fmt.Errorf("seed %q: %w", seed, err)
		}
	}
	for i := range ips {
		ips[i] = net.JoinHostPort(ips[i], strconv.Itoa(port))
	}
	return ips, nil
}

// Is reports whether a seed names this host: one of its addresses is this host's own.
func (n *Node) Is(seed string) bool {
	addrs, err := resolve(seed)
	return err == nil && slices.Contains(addrs, n.addr)
}
