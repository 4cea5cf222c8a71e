# Licensed under the Apache License, Version 2.0; see LICENSE.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple::Unit;

Staple::Unit::run('idn');
