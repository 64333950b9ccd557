/*
 * compare_logits MINE REFERENCE TOLERANCE - two files of raw f32; fails when ||mine - reference|| is more
 * than TOLERANCE * ||reference||, when their lengths differ, or when the reference is all zeros.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE 4096

int main(int argc, char **argv)
{
    static float mine[PIECE], reference[PIECE];
    double difference = 0, norm = 0;
    FILE *a = argc == 4 ? fopen(argv[1], "rb") : NULL, *b = argc == 4 ? fopen(argv[2], "rb") : NULL;
    size_t n = 0, m = 0;

    if (!a || !b) {
        fprintf(stderr, "usage: compare_logits MINE REFERENCE TOLERANCE\n");
        return 2;
    }
    do {
        n = fread(mine, sizeof *mine, PIECE, a);
        m = fread(reference, sizeof *reference, PIECE, b);
        if (n != m) {
            fprintf(stderr, "%s and %s differ in length\n", argv[1], argv[2]);
            return 1;
        }
        for (size_t i = 0; i < n; i++) {
            double d = (double)mine[i] - (double)reference[i];

            difference += d * d;
            norm += (double)reference[i] * (double)reference[i];
        }
    } while (n == PIECE);
    fclose(a);
    fclose(b);
    double error = sqrt(difference / norm), most = strtod(argv[3], NULL);
    printf("relative error %.3g, at most %g\n", error, most);
    return error <= most ? 0 : 1; /* NaN fails too */
}
