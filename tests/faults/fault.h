/* Faults of the machine below one directory, for tests: what a power cut loses, a full disk, failing IO, a clock that is off.
 *
 * Preloaded into a process (LD_PRELOAD), it stands between the process and the C library. The environment says what to do:
 *   SLUICE_FAULT_DIR     absolute path; only files below it are touched by faults
 *   SLUICE_FAULT_CTL     a folder on the same file system, outside of it, in which files turn faults on and off while the
 *                        process runs (see below), and where a power cut writes what it did to `cut.log`
 *   SLUICE_FAULT_CUT_AT  the power goes at this call of those that change a file or its name, or sync one; 0 or unset: never
 *   SLUICE_FAULT_SEED    seed of every choice that a cut makes
 * Files in SLUICE_FAULT_CTL:
 *   cut                  the power goes at the next call
 *   full                 the disk is full: nothing grows, but what was freed since may be used again
 *   eio-write, eio-fsync, eio-read
 *                        such calls fail with EIO; a number in the file: so many of them, then it is removed
 *   clock                milliseconds by which CLOCK_REALTIME is off; the monotonic clocks are never touched
 * SIGUSR2 cuts the power at the next call too.
 *
 * A cut ends the process with exit code 137. What stays, per file: everything up to its last sync; of what was written since,
 * each sector of 512 bytes is kept, lost or torn; the length is the old one, the new one, or one in between. Names (created,
 * renamed, removed) that no sync of their directory made durable are undone from the newest back to some point in between.
 * Not modelled: directories that are made or removed, and memory-mapped files (SQLite's -shm needs no durability). What a
 * process before has left unsynced counts as durable, unless that process ended by a cut. */
#ifndef SLUICE_FAULT_H
#define SLUICE_FAULT_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The function of the C library that ours stands before. */
#define REAL(name) ({ static typeof(&name) found; if (!found) found = (typeof(&name))fault_real(#name); found; })
void *fault_real(const char *name);

/* Whether a control file is there. */
int fault_asked(const char *name);
/* Whether a call of this kind must fail now; counts down. Call with `fault_lock` held. */
int fault_fails(const char *name);
/* The number in a control file; `missing` if it is not there or empty. */
long long fault_number(const char *name, long long missing);

/* Held over every call that changes or syncs a tracked file, so that nothing else happens during a cut. */
extern pthread_mutex_t fault_lock;
/* Held for reading over reads of tracked files: none sees a file that a cut has half put back. */
extern pthread_rwlock_t fault_reads;
extern char fault_dir[];
extern char fault_ctl[];

/* A file or directory below SLUICE_FAULT_DIR. One for each inode, never freed. */
struct file;

/* What changes a file or its name calls this first, with `fault_lock` held; whether the power goes during that call. */
int power_goes(void);
/* Puts back what was not synced and ends the process. `call` says where, for the log. */
_Noreturn void power_cut(const char *call, const char *name);

/* The tracked file behind an open descriptor; none if it is not below SLUICE_FAULT_DIR. */
struct file *power_track(int fd);
const char *power_name(const struct file *file);
off_t power_size(const struct file *file);
/* Bytes that are allocated to it, or its size if that is more. */
off_t power_allocated(const struct file *file);
/* Bytes [from, to) are about to be overwritten. */
void power_before_write(struct file *file, off_t from, off_t to);
/* The file is about to get this length. */
void power_before_truncate(struct file *file, off_t size);
/* All of it is on disk now; of a directory: the names in it. */
void power_synced(struct file *file);
/* A name was made. */
void power_created(const char *path);
/* A name is about to be removed, or replaced by that of `from`; false if nothing needs to be undone should it fail. */
int power_before_unlink(const char *path);
int power_before_rename(const char *from, const char *to);
/* The call that was announced last has failed: forget it. */
void power_name_kept(void);

#endif
