package launcher

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Scrub wipes the values of variables where the kernel shows them as this
// process's environment (/proc/<pid>/environ). Unsetting a variable does not: it
// only makes the program forget its copy. Call it before the process is made
// non-dumpable. What it wipes is the area that the kernel filled at exec, which
// the runtime has copied before main.
func Scrub(names ...string) error {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return fmt.Errorf("find the environment: %w", err)
	}
	// The command's name, in parentheses, may hold anything; what follows it is
	// the third field. env_start and env_end are the 50th and the 51st.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 49 {
		return fmt.Errorf("find the environment: %d fields", len(fields))
	}
	start, err1 := strconv.ParseInt(fields[47], 10, 64)
	end, err2 := strconv.ParseInt(fields[48], 10, 64)
	if err1 != nil || err2 != nil || start <= 0 || end < start || end-start > 64<<20 {
		return fmt.Errorf("find the environment: it cannot lie at %s to %s", fields[47], fields[48])
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("wipe the environment: %w", err)
	}
	defer mem.Close()
	area := make([]byte, end-start)
	if _, err := mem.ReadAt(area, start); err != nil {
		return fmt.Errorf("wipe the environment: %w", err)
	}
	at := int64(0)
	for pair := range bytes.SplitSeq(area, []byte{0}) {
		name, value, _ := bytes.Cut(pair, []byte("="))
		for _, n := range names {
			if string(name) == n && len(value) > 0 {
				if _, err := mem.WriteAt(make([]byte, len(value)), start+at+int64(len(name))+1); err != nil {
					return fmt.Errorf("wipe the environment: %w", err)
				}
			}
		}
		at += int64(len(pair)) + 1
	}
	clear(area)
	return nil
}
