/* The least that a supervisor can be: starts a program, waits for its end, starts it again. */
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	for (;;) {
		pid_t child;
		int status;
		if (posix_spawn(&child, argv[1], NULL, NULL, argv + 1, environ) != 0)
			return 1;
		if (waitpid(child, &status, 0) != child)
			return 1;
	}
}
