# Licensed under the Apache License, Version 2.0; see LICENSE.

# The ring's file lies on a file system that stops to answer: only the copy in
# the file waits. Responses are renewed, no handshake misses its staple, the
# parent goes on watching the refresher and replaces it, restarts and stops. When
# the file system answers again, the file is put right.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Disk;
use Staple::Work qw(build_dir);

my $disk = Staple::Disk->new
    or plan skip_all => 'only root can mount, where there is FUSE';

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $ring = $disk->path . '/ring';
my $httpd = Staple::Httpd->new(
    log_level => 'info staple:trace2',
    conf => "SSLUseStapling on\nSSLStaplingCache shmcb:$ring(128000)\n"
        . "SSLStaplingStandardCacheTimeout 1\n",
    vhosts => [{ cert => $leaf }]);

# Whether the file has a response that was served later than the one given.
sub has_newer
{
    my ($old) = @_;
    my ($exit, $bytes) = run(build_dir() . '/staplectl/staplectl', 'get', '-r',
                             $ring, $leaf->{serial});

    return !$exit && $bytes ne $old;
}

# The parent's hook, every ten seconds.
sub hooks { return scalar(() = $httpd->error_log =~ /hook: monitor/g) }

sub wait_for_hooks
{
    my ($count) = @_;
    my $wanted = hooks() + $count;

    return wait_for(sub { hooks() >= $wanted }, 15 * $count);
}

$httpd->start;
my $first = wait_for_staple($httpd, 'good')->{der};
ok(wait_for(sub { has_newer('') }), 'the file has a response');
my $visitors = Staple::Visitors->new($ca, [$httpd]);
$disk->tell('hang');

my $before = handshake($httpd)->{der};
ok(wait_for(sub { (handshake($httpd)->{der} // $before) ne $before }),
   'responses are renewed all the same');
ok(wait_for_hooks(2), 'and the parent does not wait for the file');
my $refresher = $httpd->refresher;
kill 'KILL', $refresher;
ok($httpd->wait_for_refresher($refresher, 40),
   'it replaces a refresher that was killed');
$before = handshake($httpd)->{der};
ok(wait_for(sub { (handshake($httpd)->{der} // $before) ne $before }),
   'which renews responses, too');
is(join("\n", $visitors->stop->odd), '', 'no handshake missed its staple');

$disk->tell('go');
ok(wait_for(sub { has_newer($first) }, 30), 'then the file is put right');

# ----- nobody knows of it yet -----

# Whether responses go on being renewed, and handshakes have them.
sub is_renewing
{
    my $old = handshake($httpd)->{der};

    return defined $old
        && wait_for(sub { (handshake($httpd)->{der} // $old) ne $old });
}

$disk->tell('hang');
ok($httpd->graceful, 'a graceful restart in the first moment of a hang');
ok(is_renewing(), '... and responses are renewed');
my @children = $httpd->children;
kill 'KILL', $children[0];
ok(wait_for(sub { !grep { $_ == $children[0] } $httpd->children }),
   'a child that died is replaced');
ok(is_renewing(), '... and responses are renewed');
ok($httpd->wait_for_log(qr/STP0320.*does not answer/, 30),
   'the log says what the file system does');
ok($httpd->restart, 'a restart while it hangs');
ok(is_renewing(), '... and responses are renewed');
my $latest = handshake($httpd)->{der};
$disk->tell('go');
ok($httpd->wait_for_log(qr/STP0144/, 30), 'it goes on: there is a file');
ok(wait_for(sub { has_newer($latest) }, 30), '... which has the responses');

$disk->tell('hang');
ok($httpd->stop, 'it hangs: httpd stops in good order');
$disk->tell('go');

# A refresher that was killed and waits for the disk is left behind, and comes
# home later; until then the old file is its own.
$httpd->log_ok(qr/exit signal Killed/, qr/AH00488.*long lost/, qr/STP012[016]/,
               qr/STP0143.*in use by another server/, qr/STP0320/);

# ----- a server that had no ring so far -----

my $bare_ring = $disk->path . '/bare';
my $bare = Staple::Httpd->new(
    conf => "SSLUseStapling off\nSSLStaplingCache shmcb:$bare_ring(128000)\n",
    vhosts => [{ cert => $leaf }]);
write_file($bare_ring, '');
$bare->start;
is(handshake($bare)->{staple}, 'none', 'nothing is stapled');
$disk->tell('hang');
$bare->{conf} =~ s/SSLUseStapling off/SSLUseStapling on/;
$bare->write_conf;
ok($bare->graceful, 'from now on it is: the restart does not wait for the disk');
is(wait_for_staple($bare, 'good')->{staple}, 'good', '... and it is stapled');
$disk->tell('go');
ok($bare->wait_for_log(qr/STP0144/, 30), 'the disk goes on: there is a file');
ok($bare->stop, 'httpd stops in good order');
$bare->log_ok(qr/STP0104.*is empty; it was renamed/, qr/STP0320/);

done_testing;
