//go:build embedded

package program

import (
	_ "embed"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	//go:embed bin/worker
	worker string
	//go:embed bin/evaluator
	evaluator string
)

// Contents holds the programs by their names; nil if this binary was built without
// them.
func Contents() map[string]string {
	return map[string]string{Worker: worker, Evaluator: evaluator}
}

// Release tells the kernel that the programs need not be in memory. What is read of
// them is a part of our own file that is mapped into memory, and would otherwise stay
// there as long as we run. They can be read again, from the file.
//
// It takes no argument on purpose: of memory that is not a file's, this would drop
// the only copy.
func Release() {
	page := uintptr(os.Getpagesize())
	for _, content := range Contents() {
		begin := unsafe.StringData(content)
		skip := -uintptr(unsafe.Pointer(begin)) % page
		if uintptr(len(content)) < skip+page {
			continue
		}
		whole := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(begin), skip)), (uintptr(len(content))-skip)/page*page)
		_ = unix.Madvise(whole, unix.MADV_DONTNEED) // only memory is lost
	}
}
