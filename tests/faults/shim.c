/* The calls that stand before those of the C library. Each asks for the faults that concern it, tells `power.c` what is about
 * to change, and lets the real call do it. */
#define _GNU_SOURCE
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 1 << 16 };

pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_rwlock_t fault_reads = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
char fault_dir[PATH_MAX], fault_ctl[PATH_MAX];
static struct file *descriptors[DESCRIPTORS];
static off_t freed_while_full;

void *fault_real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void read_environment(void) {
    const char *dir = getenv("SLUICE_FAULT_DIR"), *ctl = getenv("SLUICE_FAULT_CTL");
    if (!dir || !ctl || strlen(dir) >= PATH_MAX - 64 || strlen(ctl) >= PATH_MAX - 64) return;
    strcpy(fault_ctl, ctl);
    strcpy(fault_dir, dir);
}

int fault_asked(const char *name) {
    char path[PATH_MAX + 64];
    if (!fault_ctl[0]) return 0;
    int before = errno;
    snprintf(path, sizeof path, "%s/%s", fault_ctl, name);
    int there = access(path, F_OK) == 0;
    errno = before;
    return there;
}

long long fault_number(const char *name, long long missing) {
    char path[PATH_MAX + 64], text[32];
    if (!fault_ctl[0]) return missing;
    int before = errno;
    snprintf(path, sizeof path, "%s/%s", fault_ctl, name);
    long long number = missing;
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t length = REAL(read)(fd, text, sizeof text - 1);
        REAL(close)(fd);
        if (length > 0) {
            text[length] = 0;
            number = strtoll(text, NULL, 10);
        }
    }
    errno = before;
    return number;
}

int fault_fails(const char *name) {
    if (!fault_asked(name)) return 0;
    long long left = fault_number(name, -1);
    if (left < 0) return 1;
    char path[PATH_MAX + 64], text[32];
    snprintf(path, sizeof path, "%s/%s", fault_ctl, name);
    if (left <= 1) {
        REAL(unlink)(path);
        return left == 1;
    }
    int fd = REAL(open)(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    int length = snprintf(text, sizeof text, "%lld", left - 1);
    if (fd < 0 || REAL(write)(fd, text, (size_t)length) < 0) abort();
    REAL(close)(fd);
    return 1;
}

static struct file *tracked(int fd) {
    return fd >= 0 && fd < DESCRIPTORS ? descriptors[fd] : NULL;
}

static void track(int fd, struct file *file) {
    if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd] = file;
}

/* ---- a full disk ---- */

static int full(void) {
    int now = fault_asked("full");
    if (!now) freed_while_full = 0;
    return now;
}

/* Whether there is room up to `end`; takes it. */
static int room_up_to(struct file *file, off_t end) {
    off_t more = end - power_allocated(file);
    if (more <= 0 || !full()) return 1;
    if (more > freed_while_full) return 0;
    freed_while_full -= more;
    return 1;
}

static void freed(off_t bytes) {
    if (bytes > 0 && full()) freed_while_full += bytes;
}

/* ---- writing ---- */

/* What becomes of a call; `lock` is held after GO and CUT. */
enum fate { GO, CUT, FAIL };

static enum fate before_write(struct file *file, off_t from, off_t to) {
    pthread_mutex_lock(&fault_lock);
    int goes = power_goes();
    if (!goes && fault_fails("eio-write")) errno = EIO;
    else if (!room_up_to(file, to)) errno = ENOSPC;
    else {
        power_before_write(file, from, to);
        return goes ? CUT : GO;
    }
    pthread_mutex_unlock(&fault_lock);
    return FAIL;
}

static void after(enum fate fate, const char *call, struct file *file) {
    if (fate == CUT) power_cut(call, power_name(file));
    pthread_mutex_unlock(&fault_lock);
}

static off_t position(int fd, struct file *file) {
    if (REAL(fcntl)(fd, F_GETFL) & O_APPEND) return power_size(file);
    return lseek(fd, 0, SEEK_CUR);
}

static off_t total(const struct iovec *parts, int count) {
    off_t sum = 0;
    for (int i = 0; i < count; i++) sum += (off_t)parts[i].iov_len;
    return sum;
}

#define WRITING(call, at, length, ...)                                    \
    struct file *file = tracked(fd);                                      \
    if (!file) return REAL(call)(fd, __VA_ARGS__);                        \
    off_t from = (at);                                                    \
    enum fate fate = before_write(file, from, from + (off_t)(length));    \
    if (fate == FAIL) return -1;                                          \
    ssize_t done = REAL(call)(fd, __VA_ARGS__);                           \
    after(fate, #call, file);                                             \
    return done;

ssize_t write(int fd, const void *bytes, size_t length) { WRITING(write, position(fd, file), length, bytes, length) }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { WRITING(pwrite, at, length, bytes, length, at) }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { WRITING(pwrite64, at, length, bytes, length, at) }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITING(writev, position(fd, file), total(parts, count), parts, count)
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    WRITING(pwritev, at, total(parts, count), parts, count, at)
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    WRITING(pwritev64, at, total(parts, count), parts, count, at)
}
int fallocate(int fd, int mode, off_t at, off_t length) { WRITING(fallocate, at, length, mode, at, length) }
int fallocate64(int fd, int mode, off64_t at, off64_t length) { WRITING(fallocate64, at, length, mode, at, length) }

int posix_fallocate(int fd, off_t at, off_t length) {
    struct file *file = tracked(fd);
    if (!file) return REAL(posix_fallocate)(fd, at, length);
    enum fate fate = before_write(file, at, at + length);
    if (fate == FAIL) return errno;
    int error = REAL(posix_fallocate)(fd, at, length);
    after(fate, "posix_fallocate", file);
    return error;
}
int posix_fallocate64(int fd, off64_t at, off64_t length) { return posix_fallocate(fd, at, length); }

int ftruncate(int fd, off_t size) {
    struct file *file = tracked(fd);
    if (!file) return REAL(ftruncate)(fd, size);
    pthread_mutex_lock(&fault_lock);
    enum fate fate = power_goes() ? CUT : GO;
    freed(power_size(file) - size);
    power_before_truncate(file, size);
    int result = REAL(ftruncate)(fd, size);
    after(fate, "ftruncate", file);
    return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

/* ---- syncing ---- */

#define SYNCING(call)                                                     \
    struct file *file = tracked(fd);                                      \
    if (!file) return REAL(call)(fd);                                     \
    pthread_mutex_lock(&fault_lock);                                      \
    if (power_goes()) power_cut(#call, power_name(file));                 \
    int failed = fault_fails("eio-fsync");                                \
    int result = failed ? -1 : REAL(call)(fd);                            \
    if (result == 0) power_synced(file);                                  \
    if (failed) errno = EIO;                                              \
    pthread_mutex_unlock(&fault_lock);                                    \
    return result;

int fsync(int fd) { SYNCING(fsync) }
int fdatasync(int fd) { SYNCING(fdatasync) }

/* ---- reading ---- */

static int may_read(void) {
    if (fault_asked("eio-read")) {
        pthread_mutex_lock(&fault_lock);
        int fails = fault_fails("eio-read");
        pthread_mutex_unlock(&fault_lock);
        if (fails) {
            errno = EIO;
            return 0;
        }
    }
    pthread_rwlock_rdlock(&fault_reads);
    return 1;
}

#define READING(call, ...)                                                \
    if (!tracked(fd)) return REAL(call)(fd, __VA_ARGS__);                 \
    if (!may_read()) return -1;                                           \
    ssize_t done = REAL(call)(fd, __VA_ARGS__);                           \
    pthread_rwlock_unlock(&fault_reads);                                  \
    return done;

ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off64_t, size_t);
ssize_t read(int fd, void *bytes, size_t length) { READING(read, bytes, length) }
ssize_t pread(int fd, void *bytes, size_t length, off_t at) { READING(pread, bytes, length, at) }
ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) { READING(pread64, bytes, length, at) }
ssize_t readv(int fd, const struct iovec *parts, int count) { READING(readv, parts, count) }
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at) { READING(preadv, parts, count, at) }
ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at) { READING(preadv64, parts, count, at) }
ssize_t __read_chk(int fd, void *bytes, size_t length, size_t room) { READING(__read_chk, bytes, length, room) }
ssize_t __pread_chk(int fd, void *bytes, size_t length, off_t at, size_t room) {
    READING(__pread_chk, bytes, length, at, room)
}
ssize_t __pread64_chk(int fd, void *bytes, size_t length, off64_t at, size_t room) {
    READING(__pread64_chk, bytes, length, at, room)
}

/* ---- opening and closing ---- */

static int open_tracked(int folder, const char *path, int flags, mode_t mode) {
    if (!fault_dir[0]) return REAL(openat)(folder, path, flags, mode);
    struct stat info;
    int before = errno;
    int is_new = (flags & O_CREAT) && fstatat(folder, path, &info, AT_SYMLINK_NOFOLLOW) != 0;
    errno = before;
    /* Truncating is a change of its own. */
    int fd = REAL(openat)(folder, path, flags & ~O_TRUNC, mode);
    if (fd < 0) return fd;
    pthread_mutex_lock(&fault_lock);
    struct file *file = power_track(fd);
    track(fd, file);
    if (file && is_new) {
        int goes = power_goes();
        char link[64], absolute[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, absolute, sizeof absolute - 1);
        absolute[length > 0 ? length : 0] = 0;
        power_created(absolute);
        if (goes) power_cut("open", power_name(file));
    }
    pthread_mutex_unlock(&fault_lock);
    if (!is_new && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) {
        int ignored = ftruncate(fd, 0); /* what cannot be truncated ignores O_TRUNC too */
        (void)ignored;
        errno = before;
    }
    return fd;
}

#define MODE                                                              \
    mode_t mode = 0;                                                      \
    if (flags & (O_CREAT | O_TMPFILE)) {                                  \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode = va_arg(rest, mode_t);                                      \
        va_end(rest);                                                     \
    }

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);
int open(const char *path, int flags, ...) { MODE return open_tracked(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return open_tracked(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return open_tracked(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return open_tracked(folder, path, flags | O_LARGEFILE, mode); }
int __open_2(const char *path, int flags) { return open_tracked(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_tracked(AT_FDCWD, path, flags | O_LARGEFILE, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_tracked(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return open_tracked(folder, path, flags | O_LARGEFILE, 0); }
int creat(const char *path, mode_t mode) { return open_tracked(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    track(fd, NULL);
    return REAL(close)(fd);
}

static int duplicate(int result, int fd) {
    if (result >= 0) track(result, tracked(fd));
    return result;
}
int dup(int fd) { return duplicate(REAL(dup)(fd), fd); }
int dup2(int fd, int other) { return duplicate(REAL(dup2)(fd, other), fd); }
int dup3(int fd, int other, int flags) { return duplicate(REAL(dup3)(fd, other, flags), fd); }

#define FCNTL                                                             \
    va_list rest;                                                         \
    va_start(rest, command);                                              \
    void *argument = va_arg(rest, void *);                                \
    va_end(rest);                                                         \
    int result = REAL(fcntl)(fd, command, argument);                      \
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicate(result, fd) : result;

int fcntl(int fd, int command, ...) { FCNTL }
int fcntl64(int fd, int command, ...) { FCNTL }

/* ---- names ---- */

/* A path that does not depend on an open folder. */
static const char *from_folder(int folder, const char *path, char *room) {
    if (folder == AT_FDCWD || path[0] == '/') return path;
    snprintf(room, PATH_MAX, "/proc/self/fd/%d/%s", folder, path);
    return room;
}

static int removing(int folder, const char *path, int flags) {
    char room[PATH_MAX];
    struct stat info;
    const char *whole = from_folder(folder, path, room);
    pthread_mutex_lock(&fault_lock);
    int known = fault_dir[0] && lstat(whole, &info) == 0 && S_ISREG(info.st_mode) && power_before_unlink(whole);
    int goes = known && power_goes();
    if (goes) power_cut("unlink", whole);
    int result = REAL(unlinkat)(folder, path, flags);
    if (known && result != 0) power_name_kept();
    if (known && result == 0) freed((off_t)info.st_blocks * 512);
    pthread_mutex_unlock(&fault_lock);
    return result;
}
int unlink(const char *path) { return removing(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removing(folder, path, flags); }

static int renaming(int old_folder, const char *from, int new_folder, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    pthread_mutex_lock(&fault_lock);
    const char *whole = from_folder(new_folder, to, new);
    int known = fault_dir[0] && power_before_rename(from_folder(old_folder, from, old), whole);
    if (known && power_goes()) {
        power_name_kept();
        power_cut("rename", whole);
    }
    int result = REAL(renameat2)(old_folder, from, new_folder, to, flags);
    if (known && result != 0) power_name_kept();
    pthread_mutex_unlock(&fault_lock);
    return result;
}
int rename(const char *from, const char *to) { return renaming(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int old_folder, const char *from, int new_folder, const char *to) {
    return renaming(old_folder, from, new_folder, to, 0);
}
int renameat2(int old_folder, const char *from, int new_folder, const char *to, unsigned flags) {
    return renaming(old_folder, from, new_folder, to, flags);
}

/* ---- room on the disk ---- */

#define ROOM(call, type, first)                                           \
    int result = REAL(call)(first, room);                                 \
    if (result == 0 && full()) {                                          \
        room->f_bfree = room->f_bavail = (type)freed_while_full / (room->f_bsize ? room->f_bsize : 1); \
    }                                                                     \
    return result;

int statvfs(const char *path, struct statvfs *room) { ROOM(statvfs, unsigned long, path) }
int statvfs64(const char *path, struct statvfs64 *room) { ROOM(statvfs64, unsigned long, path) }
int fstatvfs(int fd, struct statvfs *room) { ROOM(fstatvfs, unsigned long, fd) }
int fstatvfs64(int fd, struct statvfs64 *room) { ROOM(fstatvfs64, unsigned long, fd) }
int statfs(const char *path, struct statfs *room) { ROOM(statfs, unsigned long, path) }
int statfs64(const char *path, struct statfs64 *room) { ROOM(statfs64, unsigned long, path) }
int fstatfs(int fd, struct statfs *room) { ROOM(fstatfs, unsigned long, fd) }
int fstatfs64(int fd, struct statfs64 *room) { ROOM(fstatfs64, unsigned long, fd) }
