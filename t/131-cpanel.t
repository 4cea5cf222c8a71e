# Licensed under the Apache License, Version 2.0; see LICENSE.

# What real hosts run today works unchanged: the block that cPanel's EasyApache
# 4 ships, with only its path moved into the test's directory.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(conf => <<'CONF', vhosts => [{ cert => $leaf }]);
SSLUseStapling On
SSLStaplingCache shmcb:{dir}/run/stapling_cache_shmcb(256000)
SSLStaplingReturnResponderErrors off
SSLStaplingErrorCacheTimeout 60
SSLStaplingFakeTryLater off
SSLStaplingResponderTimeout 3
CONF

my ($exit, $said) = $httpd->configtest;
is($exit, 0, 'httpd -t is content') or diag $said;
$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'and it staples');
ok(-s $httpd->dir . '/run/stapling_cache_shmcb', 'the file is where it says');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
