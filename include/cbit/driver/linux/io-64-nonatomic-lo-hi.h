/* What linux/io-64-nonatomic-lo-hi.h declares, as far as cbit has it. */
#include <cbit/driver/driver.h>
