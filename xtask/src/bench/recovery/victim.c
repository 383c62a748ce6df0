/*
 * The program that is killed and must be back: its first statement reads the clock; then it adds a line with its pid
 * and that time to a file, by one write, and waits.
 *
 * The file is the one that RECORD names, else the first argument: some supervisors give no arguments, or arguments
 * of their own, and some clean the environment.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);

	const char *path = getenv("RECORD");
	if (!path && argc > 1)
		path = argv[1];
	int file = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	char line[64];
	int length = snprintf(line, sizeof line, "%d %lld%09ld\n", (int)getpid(), (long long)now.tv_sec, now.tv_nsec);
	if (file < 0 || write(file, line, length) != length)
		return 125;
	for (;;)
		pause();
}
