# Licensed under the Apache License, Version 2.0; see LICENSE.

# The thread that refreshes is joined by nobody: it may end while its process
# is in exit() and OpenSSL is half gone. No child crashes, whenever that is.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $preload = build_dir() . '/t/tools/.libs/last_thread.so';

plan skip_all => 'another library is preloaded (the sanitizers\')'
    if $ENV{STAPLE_PRELOAD};
plan skip_all => "no $preload" if !-e $preload;

# OpenSSL 3.0 deletes five keys; beyond the last one nothing is held up.
my $keys = 7;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);

$ENV{STAPLE_PRELOAD} = $preload;
for my $key (1 .. $keys) {
    local $ENV{LAST_THREAD} = $key;
    my $httpd = Staple::Httpd->new(conf   => stapling(),
                                   vhosts => [{ cert => $leaf }]);

    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good',
       "key $key: the thread has judged a response");
    ok($httpd->stop, '... httpd stops in good order');
    $httpd->log_ok;
}

done_testing;
