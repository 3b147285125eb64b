package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CacheDir is the folder where `ringo data fetch` puts files: ringo/data in the user's cache folder.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("the user's cache folder is unknown (%w): set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(dir, "ringo", "data"), nil
}

// places lists where a path is looked for, in order: as given, in the folder that RINGO_DATA names, in
// ../shared/data, in the user's cache.
func places(path string) []string {
	out := []string{path}
	if filepath.IsAbs(path) {
		return out
	}
	if dir := os.Getenv("RINGO_DATA"); dir != "" {
		out = append(out, filepath.Join(dir, path))
	}
	out = append(out, filepath.Join("..", "shared", "data", path))
	if dir, err := CacheDir(); err == nil {
		out = append(out, filepath.Join(dir, path))
	}
	return out
}

// Find returns the first place where the file or folder path exists. The error lists the places, and the
// command that fetches the file where ringo knows one; it satisfies errors.Is(err, os.ErrNotExist).
func Find(path string) (string, error) {
	all := places(path)
	for _, p := range all {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	advice := "`ringo data fetch` fetches the sets it knows (" + strings.Join(CatalogNames(), ", ") + ")"
	if e := catalogFor(path); e != nil {
		advice = "fetch it with `ringo data fetch " + e.Name + "`"
	}
	if os.Getenv("RINGO_DATA") == "" && !filepath.IsAbs(path) {
		advice += ", or name a folder that has it in RINGO_DATA"
	}
	return "", &notFound{fmt.Sprintf("%s: not found (looked in %s); %s", path, strings.Join(all, ", "), advice)}
}

type notFound struct{ text string }

func (e *notFound) Error() string        { return e.text }
func (e *notFound) Is(target error) bool { return target == os.ErrNotExist }
