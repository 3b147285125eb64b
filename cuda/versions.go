//go:build cuda

package cuda

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"

	"ringo/kernels"
)

// versions are a device's choices among kernels that compute the same: by trial, kept in a file, or forced.
type versions struct {
	kept   kept
	tries  bool   // the software device does not: its times mean nothing
	forced string // the name of the versions to take where there are some of that name
	said   []string
}

// trying stands in the place of a version while a process tries.
const trying = "trying"

// EnvVersion forces versions of kernels by name, for tests and measurements.
const EnvVersion = "RINGO_CUDA_KERNELS"

func (d *device) openVersions() error {
	digest, err := imageDigest()
	if err != nil {
		return err
	}
	d.versions = versions{kept: newKept(d, "versions", digest), tries: !d.soft}
	return d.force(os.Getenv(EnvVersion))
}

// imageDigest changes when a kernel does.
func imageDigest() (string, error) {
	entries, err := compiled.ReadDir("image")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, e := range entries {
		raw, err := compiled.ReadFile("image/" + e.Name())
		if err != nil {
			return "", err
		}
		h.Write(raw)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

// force makes the device take versions of one name; "" lets it choose.
func (d *device) force(name string) error {
	names := versionNames(d.info)
	if name != "" && !slices.Contains(names, name) {
		return fmt.Errorf("%s has no kernels of the kind %q: expected one of %v", d.name, name, names)
	}
	d.versions.forced = name
	return nil
}

func versionNames(i kernels.DeviceInfo) []string {
	names := []string{kernels.VersionMMA}
	if i.Warpgroups {
		names = append(names, kernels.VersionWGMMA)
	}
	return names
}

// version returns which version of a call to take: the one that is forced, the one that was found before, or the fastest of
// those that a trial finds right. What ends the process or its context is refused from then on. It is called between
// enter and leave, outside a capture.
func (d *device) version(c *kernels.DeviceCall, v *kernels.Versions) (int, error) {
	if !d.versions.tries || d.versions.forced != "" {
		return max(0, index(v, d.versions.forced)), nil
	}
	if i, ok := d.found(v); ok {
		return i, nil
	}
	k := &d.versions.kept
	defer k.lock()()
	if k.entries[v.Key] == trying { // and nobody holds the lock who could be
		k.entries[v.Key] = fmt.Sprintf("%s: a process ended while it tried the others; to try again, delete %s", v.List[0].Name, k.file)
		k.save()
	}
	if i, ok := d.found(v); ok { // another process has tried
		return i, nil
	}
	if !d.room(&v.Trial) {
		d.say(fmt.Sprintf("%s by %s: no memory to try the others", v.Key, v.List[0].Name))
		return 0, nil
	}
	k.entries[v.Key] = trying
	k.save()
	i, why, err := d.try(c, v)
	if err != nil {
		return 0, fmt.Errorf("trying versions of %s: %w; the next start leaves them out", v.Key, err)
	}
	k.entries[v.Key] = v.List[i].Name + ": " + why
	k.save()
	i, _ = d.found(v)
	return i, nil
}

// found looks up what was chosen for a call, and says it once where it is not the last version.
func (d *device) found(v *kernels.Versions) (int, bool) {
	name, why, _ := strings.Cut(d.versions.kept.entries[v.Key], ": ")
	i := index(v, name)
	if i >= 0 && i < len(v.List)-1 {
		d.say(fmt.Sprintf("%s by %s: %s", v.Key, name, why))
	}
	return i, i >= 0
}

// say adds a line to the device's description, once.
func (d *device) say(line string) {
	if !slices.Contains(d.versions.said, line) {
		d.versions.said = append(d.versions.said, line)
	}
}

func index(v *kernels.Versions, name string) int {
	return slices.IndexFunc(v.List, func(x kernels.Version) bool { return x.Name == name })
}
