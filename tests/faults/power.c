/* What was not synced, and how a power cut puts it back. */
#define _GNU_SOURCE
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512, BUCKETS = 4096, SMALL = 64 };

/* What a sector held when the file was synced last. */
struct before {
    off_t sector;
    int next; /* in its bucket, -1: none */
    unsigned length; /* bytes of it that were within the file */
    unsigned char bytes[SECTOR];
};

struct file {
    struct file *next;
    dev_t device;
    ino_t inode;
    int is_directory;
    int fd; /* ours, to read and to put back; never closed: closing would drop the process's fcntl locks */
    off_t synced; /* length at the last sync */
    off_t lowest; /* shortest length since */
    struct before *log;
    int count, room;
    int buckets[BUCKETS];
    char path[PATH_MAX];
};

/* A change of names since the last sync of its directory. */
struct name {
    enum { CREATED, REMOVED, RENAMED } kind;
    char path[PATH_MAX], from[PATH_MAX], backup[PATH_MAX]; /* backup: what the name stood for; empty: nothing */
};

static struct file *files;
static struct name *names;
static int name_count, name_room, backups;
static unsigned long long calls, random_state;
static volatile sig_atomic_t asked_by_signal;

static unsigned long long chance(unsigned long long below) {
    random_state += 0x9E3779B97F4A7C15ull; /* splitmix64 */
    unsigned long long z = random_state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (z ^ (z >> 31)) % below;
}

static void on_signal(int number) {
    (void)number;
    asked_by_signal = 1;
}

__attribute__((constructor)) static void listen_for_signal(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &action, NULL);
}

int power_goes(void) {
    static unsigned long long cut_at;
    static int known;
    if (!known) {
        const char *text = getenv("SLUICE_FAULT_CUT_AT");
        cut_at = text ? strtoull(text, NULL, 10) : 0;
        known = 1;
    }
    calls++;
    return (cut_at && calls >= cut_at) || asked_by_signal || fault_asked("cut");
}

struct file *power_track(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    size_t below = strlen(fault_dir);
    if (strncmp(path, fault_dir, below) != 0 || (path[below] != '/' && path[below] != 0)) return NULL;
    if (length > 4 && strcmp(path + length - 4, "-shm") == 0) return NULL;
    struct stat info;
    if (fstat(fd, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) return NULL;
    for (struct file *file = files; file; file = file->next)
        if (file->device == info.st_dev && file->inode == info.st_ino) return file;
    struct file *file = calloc(1, sizeof *file);
    if (!file) abort();
    file->device = info.st_dev;
    file->inode = info.st_ino;
    file->is_directory = S_ISDIR(info.st_mode);
    file->synced = file->lowest = info.st_size;
    file->fd = file->is_directory ? -1 : REAL(open)(link, O_RDWR | O_CLOEXEC);
    memset(file->buckets, -1, sizeof file->buckets);
    strcpy(file->path, path);
    file->next = files;
    files = file;
    return file;
}

const char *power_name(const struct file *file) {
    const char *slash = strrchr(file->path, '/');
    return slash ? slash + 1 : file->path;
}

off_t power_size(const struct file *file) {
    struct stat info;
    return file->fd >= 0 && fstat(file->fd, &info) == 0 ? info.st_size : 0;
}

off_t power_allocated(const struct file *file) {
    struct stat info;
    if (file->fd < 0 || fstat(file->fd, &info) != 0) return 0;
    off_t allocated = (off_t)info.st_blocks * 512;
    return allocated > info.st_size ? allocated : info.st_size;
}

/* Remembers what a sector holds, unless that is known or the sector is new since the last sync. */
static void remember(struct file *file, off_t sector) {
    off_t start = sector * SECTOR;
    if (start >= file->lowest) return;
    int *bucket = &file->buckets[sector % BUCKETS];
    for (int at = *bucket; at >= 0; at = file->log[at].next)
        if (file->log[at].sector == sector) return;
    if (file->count == file->room) {
        file->room = file->room ? file->room * 2 : SMALL;
        file->log = realloc(file->log, (size_t)file->room * sizeof *file->log);
        if (!file->log) abort();
    }
    struct before *before = &file->log[file->count];
    off_t left = file->synced - start;
    before->sector = sector;
    before->length = left < SECTOR ? (unsigned)left : SECTOR;
    memset(before->bytes, 0, SECTOR);
    if (REAL(pread)(file->fd, before->bytes, before->length, start) < 0) abort();
    before->next = *bucket;
    *bucket = file->count++;
}

void power_before_write(struct file *file, off_t from, off_t to) {
    if (file->fd < 0) return;
    if (to > file->lowest) to = file->lowest;
    for (off_t sector = from / SECTOR; sector * SECTOR < to; sector++) remember(file, sector);
}

void power_before_truncate(struct file *file, off_t size) {
    if (file->fd < 0 || size >= file->lowest) return;
    for (off_t sector = size / SECTOR; sector * SECTOR < file->lowest; sector++) remember(file, sector);
    file->lowest = size;
}

static void forget(struct name *name) {
    if (name->backup[0]) REAL(unlink)(name->backup);
}

void power_synced(struct file *file) {
    if (!file->is_directory) {
        file->count = 0;
        memset(file->buckets, -1, sizeof file->buckets);
        file->synced = file->lowest = power_size(file);
        return;
    }
    size_t length = strlen(file->path);
    int kept = 0;
    for (int i = 0; i < name_count; i++) {
        const char *path = names[i].path, *slash = strrchr(path, '/');
        int inside = (size_t)(slash - path) == length && strncmp(path, file->path, length) == 0;
        if (inside) forget(&names[i]);
        else names[kept++] = names[i];
    }
    name_count = kept;
}

/* The absolute path of a name below SLUICE_FAULT_DIR; false for others. */
static int inside(const char *path, char *absolute) {
    char folder[PATH_MAX], resolved[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    if (!realpath(folder[0] ? folder : "/", resolved)) return 0;
    size_t below = strlen(fault_dir);
    if (strncmp(resolved, fault_dir, below) != 0 || (resolved[below] != '/' && resolved[below] != 0)) return 0;
    int length = snprintf(absolute, PATH_MAX, "%s/%s", resolved, slash ? slash + 1 : path);
    return length > 4 && strcmp(absolute + length - 4, "-shm") != 0;
}

static struct name *new_name(void) {
    if (name_count == name_room) {
        name_room = name_room ? name_room * 2 : SMALL;
        names = realloc(names, (size_t)name_room * sizeof *names);
        if (!names) abort();
    }
    struct name *name = &names[name_count++];
    name->from[0] = name->backup[0] = 0;
    return name;
}

/* Keeps what a name stands for, to be put back. */
static void keep(struct name *name, const char *path) {
    snprintf(name->backup, sizeof name->backup, "%s/removed-%d-%d", fault_ctl, (int)getpid(), backups++);
    if (link(path, name->backup) != 0) name->backup[0] = 0;
}

void power_created(const char *path) {
    char absolute[PATH_MAX];
    if (!inside(path, absolute)) return;
    struct name *name = new_name();
    name->kind = CREATED;
    strcpy(name->path, absolute);
}

int power_before_unlink(const char *path) {
    char absolute[PATH_MAX];
    if (!inside(path, absolute)) return 0;
    struct name *name = new_name();
    name->kind = REMOVED;
    strcpy(name->path, absolute);
    keep(name, absolute);
    return 1;
}

int power_before_rename(const char *from, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    if (!inside(from, old) || !inside(to, new)) return 0;
    struct name *name = new_name();
    name->kind = RENAMED;
    strcpy(name->from, old);
    strcpy(name->path, new);
    keep(name, new);
    return 1;
}

void power_name_kept(void) {
    forget(&names[--name_count]);
}

/* ---- the cut ---- */

static unsigned long kept_sectors, lost_sectors, torn_sectors;

/* How much survives: the extremes are as likely to find a fault as the mixture. */
enum { MIXTURE, ALL_LOST, LAST_TORN };

static void put_sector(struct file *file, off_t sector, const unsigned char *old, off_t size, int mode, int last) {
    off_t start = sector * SECTOR;
    if (start >= size) return;
    size_t length = size - start < SECTOR ? (size_t)(size - start) : SECTOR;
    unsigned long long fate = mode == ALL_LOST ? 1 : mode == LAST_TORN ? (last ? 2 : 0) : chance(3);
    if (fate == 0) {
        kept_sectors++;
        return;
    }
    unsigned char bytes[SECTOR] = {0};
    if (fate == 1) {
        memcpy(bytes, old, SECTOR);
        lost_sectors++;
    } else {
        /* The new beginning, the old rest. */
        size_t new_bytes = chance(SECTOR);
        memcpy(bytes, old, SECTOR);
        if (REAL(pread)(file->fd, bytes, new_bytes, start) < 0) abort();
        torn_sectors++;
    }
    if (REAL(pwrite)(file->fd, bytes, length, start) != (ssize_t)length) abort();
}

static int by_sector(const void *a, const void *b) {
    off_t left = ((const struct before *)a)->sector, right = ((const struct before *)b)->sector;
    return left < right ? -1 : left > right;
}

static void put_back(struct file *file, int mode) {
    static const unsigned char zeros[SECTOR];
    off_t size = power_size(file);
    if (file->fd < 0 || (file->count == 0 && size == file->synced)) return;
    qsort(file->log, (size_t)file->count, sizeof *file->log, by_sector);
    int shrank = file->lowest < file->synced;
    if (shrank && (mode == ALL_LOST || chance(2))) {
        /* The truncation never happened: what it cut off is whole. */
        if (REAL(ftruncate)(file->fd, file->synced) != 0) abort();
        for (int i = 0; i < file->count; i++) {
            struct before *before = &file->log[i];
            off_t start = before->sector * SECTOR;
            if (start + SECTOR > file->lowest) {
                if (REAL(pwrite)(file->fd, before->bytes, before->length, start) < 0) abort();
                lost_sectors++;
            } else {
                put_sector(file, before->sector, before->bytes, file->synced, mode, 0);
            }
        }
        return;
    }
    if (size > file->lowest) {
        /* It grew: back to the old length, or somewhere on the way. */
        off_t grown = size - file->lowest;
        if (mode == ALL_LOST) size = file->lowest;
        else if (mode == MIXTURE && chance(2)) size = file->lowest + (off_t)chance((unsigned long long)grown);
        if (REAL(ftruncate)(file->fd, size) != 0) abort();
    }
    for (int i = 0; i < file->count; i++) {
        struct before *before = &file->log[i];
        int last = i + 1 == file->count && size <= file->lowest;
        /* What lay beyond the shortest length is gone; its sector never held it. */
        off_t start = before->sector * SECTOR;
        if (start >= file->lowest) continue;
        put_sector(file, before->sector, before->bytes, size, mode, last);
    }
    off_t first = (file->lowest + SECTOR - 1) / SECTOR, end = (size + SECTOR - 1) / SECTOR;
    for (off_t sector = first; sector < end; sector++) put_sector(file, sector, zeros, size, mode, sector + 1 == end);
}

static void undo(struct name *name) {
    switch (name->kind) {
    case CREATED: REAL(unlink)(name->path); break;
    case REMOVED: break;
    case RENAMED: REAL(rename)(name->path, name->from); break;
    }
    if (name->backup[0]) REAL(rename)(name->backup, name->path);
}

_Noreturn void power_cut(const char *call, const char *name) {
    pthread_rwlock_wrlock(&fault_reads);
    const char *text = getenv("SLUICE_FAULT_SEED");
    random_state = (text ? strtoull(text, NULL, 10) : 0) * 0x2545F4914F6CDD1Dull + calls;
    int mode = (int)chance(4);
    if (mode > LAST_TORN) mode = MIXTURE;
    for (struct file *file = files; file; file = file->next)
        if (!file->is_directory) put_back(file, mode);
    int undone = name_count - (mode == ALL_LOST ? 0 : (int)chance((unsigned long long)name_count + 1));
    for (int i = 0; i < undone; i++) undo(&names[name_count - 1 - i]);
    for (int i = 0; i < name_count - undone; i++) forget(&names[i]);

    char path[PATH_MAX], line[PATH_MAX];
    int length = snprintf(line, sizeof line,
        "power cut at call %llu (%s %s), seed %s: sectors kept %lu, lost %lu, torn %lu; names undone %d of %d\n", calls, call,
        name, text ? text : "0", kept_sectors, lost_sectors, torn_sectors, undone, name_count);
    snprintf(path, sizeof path, "%s/cut.log", fault_ctl);
    int log = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || REAL(write)(log, line, (size_t)length) < 0) abort();
    _exit(137);
}
