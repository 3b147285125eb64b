package secure

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"time"
)

// Files name the user's own certificates, in PEM. All three, or none.
type Files struct {
	Cert, Key string // this process's certificate chain and private key
	CA        string // who signs the members' certificates
}

// serverName is in every certificate that a key makes. Members are known by their CA, not by host names, which
// change with every pod.
const serverName = "member.ringo.internal"

// TLS returns a configuration for both roles of a connection, server and client: TLS 1.3 only, both sides
// authenticated. Certificates are the user's own where files are given. Else the job's key gives them: it is stretched to the
// private key of a certificate authority, the same in every process, which signs a fresh certificate for this process.
func TLS(key Key, job string, f Files) (*tls.Config, error) {
	leaf, roots, err := fromFiles(f)
	name := ""
	if f == (Files{}) {
		name = serverName
		leaf, roots, err = fromKey(key, job)
	}
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{leaf},
		RootCAs:      roots,
		ClientCAs:    roots,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
		ServerName:   name,
		// Sessions are not resumed: a view's connections are made once.
		SessionTicketsDisabled: true,
	}
	if name == "" { // own certificates: the CA says who is a member, whatever the address
		c.InsecureSkipVerify = true // replaced by the next line, which leaves out the name only
		c.VerifyConnection = chainOnly(roots)
	}
	return c, nil
}

// chainOnly checks a peer's certificate chain without a host name.
func chainOnly(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("peer has no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
}

func fromFiles(f Files) (tls.Certificate, *x509.CertPool, error) {
	if f == (Files{}) {
		return tls.Certificate{}, nil, nil
	}
	if f.Cert == "" || f.Key == "" || f.CA == "" {
		return tls.Certificate{}, nil, fmt.Errorf("TLS: certificate %q, key %q, authority %q: give all three, or none to use the job's key", f.Cert, f.Key, f.CA)
	}
	leaf, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return leaf, nil, fmt.Errorf("TLS: %s and %s: %w", f.Cert, f.Key, err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return leaf, nil, fmt.Errorf("TLS: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return leaf, nil, fmt.Errorf("TLS: %s holds no certificate in PEM", f.CA)
	}
	return leaf, roots, nil
}

// years that certificates last. The authority's dates are fixed, since every process makes the same one; who wants a job to end
// its trust throws the key away.
var (
	authorityFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	authorityTo   = time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC)
)

func fromKey(key Key, job string) (leaf tls.Certificate, roots *x509.CertPool, err error) {
	if len(key) != KeySize {
		return leaf, nil, fmt.Errorf("TLS: the job's key has %d bytes, expected %d", len(key), KeySize)
	}
	signer := ed25519.NewKeyFromSeed(key.derive("certificate authority", job))
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ringo job " + job}, NotBefore: authorityFrom, NotAfter: authorityTo,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return leaf, nil, fmt.Errorf("TLS: %w", err)
	}
	if authority, err = x509.ParseCertificate(der); err != nil {
		return leaf, nil, fmt.Errorf("TLS: %w", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return leaf, nil, fmt.Errorf("TLS: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return leaf, nil, fmt.Errorf("TLS: %w", err)
	}
	// A leaf's private key never leaves this process, and ends with it: the dates need only outlast the run, and clocks
	// that differ.
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, authority, public, signer)
	if err != nil {
		return leaf, nil, fmt.Errorf("TLS: %w", err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(authority)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, roots, nil
}

// strangers are what errors say about a peer of another job; alerts of the other side come as text only.
var strangers = []string{"unknown certificate authority", "bad certificate", "certificate required", "didn't provide a certificate"}

// Explain puts what a failed handshake most often means before its error.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) || slices.ContainsFunc(strangers, func(s string) bool { return strings.Contains(err.Error(), s) }) {
		return fmt.Errorf("it has another job's key or certificates; give all hosts of a job the same key file: %w", err)
	}
	return err
}
