package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "key")
	keys := make([]Key, 8)
	made := make([]bool, 8)
	var wg sync.WaitGroup
	for i := range keys { // all at once: one is written, all see it
		wg.Add(1)
		go func() {
			defer wg.Done()
			var err error
			keys[i], made[i], err = LoadOrCreate(path)
			require.NoError(t, err)
		}()
	}
	wg.Wait()
	n := 0
	for i := range keys {
		require.Equal(t, []byte(keys[0]), []byte(keys[i]))
		if made[i] {
			n++
		}
	}
	require.Equal(t, 1, n)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)

	require.NoError(t, os.Chmod(path, 0o640))
	_, _, err = LoadOrCreate(path)
	require.ErrorContains(t, err, "mode 0640 lets others read it, expected 0600: chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	_, err = Load(path)
	require.ErrorContains(t, err, "3 characters, expected 64 hexadecimal digits")
	_, err = Load(filepath.Dir(path))
	require.ErrorContains(t, err, "not a regular file")
}

func TestKeyFromTheEnvironment(t *testing.T) {
	t.Parallel()
	want := Generate()
	env := func(string) string { return hex.EncodeToString(want) + "\n" }
	got, made, err := Find(env, "/nowhere")
	require.NoError(t, err)
	require.False(t, made)
	require.Equal(t, []byte(want), []byte(got))
	_, _, err = Find(func(string) string { return "zz" }, "/nowhere")
	require.ErrorContains(t, err, EnvKey+": 2 characters, expected 64")
	require.Equal(t, "(key) (key)", fmt.Sprintf("%v %#v", want, want))
}

// shake connects two configurations and returns what each side saw.
func shake(t *testing.T, server, client *tls.Config) (error, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer b.Close()
	a, err := l.Accept()
	require.NoError(t, err)
	defer a.Close()
	for _, c := range []net.Conn{a, b} {
		require.NoError(t, c.SetDeadline(time.Now().Add(5*time.Second)))
	}
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- err
	}()
	cerr := c.Handshake()
	if cerr == nil {
		_, cerr = c.Read(make([]byte, 1))
	}
	c.Close()
	return <-done, cerr
}

func TestMembersOfAJobAuthenticateEachOther(t *testing.T) {
	t.Parallel()
	key := Generate()
	one := func(k Key, job string) *tls.Config {
		c, err := TLS(k, job, Files{})
		require.NoError(t, err)
		return c
	}
	serr, cerr := shake(t, one(key, "gpt"), one(key, "gpt"))
	require.NoError(t, serr)
	require.NoError(t, cerr)
	for name, other := range map[string]*tls.Config{"key": one(Generate(), "gpt"), "job": one(key, "bert")} {
		_, cerr = shake(t, one(key, "gpt"), other)
		require.ErrorContains(t, Explain(cerr), "another job's key or certificates", name)
		other = other.Clone()
		other.InsecureSkipVerify = true // a stranger who does not care whom it talks to
		serr, _ = shake(t, one(key, "gpt"), other)
		require.ErrorContains(t, Explain(serr), "another job's key or certificates", name)
	}
	none := &tls.Config{InsecureSkipVerify: true}
	serr, _ = shake(t, one(key, "gpt"), none)
	require.ErrorContains(t, serr, "certificate")
	old := one(key, "gpt")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	serr, _ = shake(t, one(key, "gpt"), old)
	require.Error(t, serr)
	_, err := TLS(Key("short"), "gpt", Files{})
	require.ErrorContains(t, err, "5 bytes, expected 32")
}

func TestOwnCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := func(ca string) Files {
		return Files{Cert: filepath.Join(dir, ca+".crt"), Key: filepath.Join(dir, ca+".key"), CA: filepath.Join(dir, ca+".ca")}
	}
	for _, ca := range []string{"a", "b"} {
		writeCertificates(t, files(ca))
	}
	load := func(ca string) *tls.Config {
		c, err := TLS(nil, "gpt", files(ca))
		require.NoError(t, err)
		return c
	}
	serr, cerr := shake(t, load("a"), load("a"))
	require.NoError(t, serr)
	require.NoError(t, cerr)
	_, cerr = shake(t, load("a"), load("b"))
	require.ErrorContains(t, Explain(cerr), "another job's key or certificates")
	_, err := TLS(nil, "gpt", Files{Cert: "x"})
	require.ErrorContains(t, err, "give all three")
	_, err = TLS(nil, "gpt", Files{Cert: files("a").Cert, Key: files("a").Key, CA: files("a").Key})
	require.ErrorContains(t, err, "holds no certificate")
}

func writeCertificates(t *testing.T, f Files) {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	top := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ours"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	topDER, err := x509.CreateCertificate(rand.Reader, top, top, ca.Public(), ca)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour)}, top, leaf.Public(), ca)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(leaf)
	require.NoError(t, err)
	for path, block := range map[string]*pem.Block{f.CA: {Type: "CERTIFICATE", Bytes: topDER}, f.Cert: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
}

func Example() {
	key := Generate()
	mine, err := TLS(key, "gpt-baby", Files{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key, mine.MinVersion == tls.VersionTLS13, mine.ClientAuth)
	// Output: (key) true RequireAndVerifyClientCert
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := Parse(text); err == nil {
			require.Len(t, []byte(k), KeySize)
		}
	})
}
