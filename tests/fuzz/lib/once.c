/*
 * main() of a fuzzer where there is no libFuzzer: each file of the folders named, in the order of their names,
 * once. usage: FUZZER FOLDER... Fails if a folder has no file: then nothing was tested.
 */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma weak LLVMFuzzerInitialize

/* Only libFuzzer asks for a mutation. */
size_t
LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    (void)data;
    (void)max_size;
    return size;
}

/* The input in memory of exactly its size, so that a sanitizer sees each byte too far. */
static void
run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size;

    check(file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0, "%s: %s", path,
          strerror(errno));
    rewind(file);
    check((data = malloc((size_t)size)) != NULL || size == 0, "no memory for %s", path);
    check(fread(data, 1, (size_t)size, file) == (size_t)size, "%s is shorter than it was", path);
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

static int
is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Returns how many files there are. Names each before it runs: the last one printed is the one that failed. */
static int
run_folder(const char *folder)
{
    struct dirent **names;
    int count = scandir(folder, &names, is_visible, alphasort);

    check(count > 0, "%s: no file to run", folder);
    for (int i = 0; i < count; i++) {
        char path[4096];

        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        printf("%s\n", path);
        (void)fflush(stdout);
        run_file(path);
        free(names[i]);
    }
    free(names);
    return count;
}

int
main(int argc, char *argv[])
{
    int count = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        count += run_folder(argv[i]);
    printf("%d inputs\n", count);
    return 0;
}
