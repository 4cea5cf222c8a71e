# Licensed under the Apache License, Version 2.0; see LICENSE.

# Nothing that a customer leaves in a directory keeps the responses of others
# from being renewed there by staplectl fetch --keep-fresh.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir work_dir is_running spawn
                    stop_process);

use POSIX ();

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'good.test', ocsp => $responder->url);
my $staplectl = build_dir() . '/staplectl/staplectl';

# A directory with one good site; returns its path and that of the site.
sub directory
{
    my ($name) = @_;
    my $dir = work_dir() . "/$name";

    return ($dir, write_file("$dir/good.pem", read_file($leaf->{chain})));
}

# What would wait is ended by timeout(1), with status 124.
sub keep_fresh
{
    my ($dir, @args) = @_;

    return run('timeout', 60, $staplectl, 'fetch', '--timeout', 5,
               '--keep-fresh', $dir, @args);
}

# A certificate that says that it is encrypted: nobody is asked for a passphrase,
# neither at a terminal nor at standard input, where nothing ever comes.
{
    my ($dir, $good) = directory('encrypted');
    my $pipe = "$dir/stdin";
    my $encrypted = read_file($leaf->{cert})
        =~ s/^(-----BEGIN CERTIFICATE-----\n)/$1Proc-Type: 4,ENCRYPTED\n/mr
        =~ s/(ENCRYPTED\n)/$1DEK-Info: AES-256-CBC,@{[ '00' x 16 ]}\n\n/r;

    write_file("$dir/encrypted.pem", $encrypted);
    POSIX::mkfifo($pipe, 0600) or die "mkfifo: $!\n";
    my ($exit, $out) = run('setsid', '-w', 'timeout', 60, 'sh', '-c',
                           'exec "$@" <>"$0"', $pipe, $staplectl, 'fetch',
                           '--keep-fresh', $dir);
    is($exit, 0, 'a certificate that says that it is encrypted') or diag $out;
    unlike($out, qr/pass ?phrase/i, '... nobody is asked for a passphrase');
    ok(-s "$good.ocsp", '... and the other response is there');
}

# Many links to files of 1 MB: with certificates of authorities only, about which
# nobody is to be asked, and with a site's before them, whose response is there.
SKIP: {
    skip 'a runtime of sanitizers wants more memory than there is', 4
        if read_file(build_dir() . '/Makefile') =~ /^STAPLE_CFLAGS =.*-fsanitize/m;
    my ($dir, $good) = directory('many');
    my $large = work_dir() . '/large.pem';
    my ($status, $said)
        = run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
              '-subj', '/CN=large', '-addext', 'nsComment=' . 'x' x 20_000,
              '-keyout', work_dir() . '/large.key', '-out', $large);
    my $bundle = read_file($large) x 35;
    my $site = write_file(work_dir() . '/site.pem',
                          read_file($leaf->{chain}) . $bundle);

    is($status, 0, 'a large certificate of an authority') or diag $said;
    is((run($staplectl, 'fetch', $site))[0], 0, '... behind that of a site');
    write_file(work_dir() . '/bundle.pem', $bundle);
    for my $i (1 .. 300) {
        symlink work_dir() . '/bundle.pem', "$dir/bundle$i.pem" or die "$!\n";
        symlink $site, "$dir/site$i.pem" or die "$!\n";
        link "$site.ocsp", "$dir/site$i.pem.ocsp" or die "$!\n";
    }
    my ($exit, $out) = run('sh', '-c', 'ulimit -v 400000; exec "$@"', 'sh',
                           'timeout', 120, $staplectl, 'fetch',
                           '--keep-fresh', $dir);
    is($exit, 0, '... and 600 links to it') or diag substr $out, -1000;
    ok(-s "$good.ocsp", '... the response of another site is there');
}

# More certificates in a file than any server sends: the first ones are read, as
# each takes its time and there may be many such files.
{
    my ($dir, $good) = directory('long');

    write_file("$dir/long$_.pem", read_file($leaf->{issuer}) x $_
               . read_file($leaf->{chain})) for 30, 32;
    is((keep_fresh($dir))[0], 0, 'files with many certificates');
    is(join(' ', map { s{.*/}{}r } sort glob "$dir/*.ocsp"),
       'good.pem.ocsp long30.pem.ocsp', '... of which the first 32 are read');
}

# A file that grows while it is read is not read to its end.
SKIP: {
    skip 'needs /proc', 3 if !-d "/proc/$$/fdinfo";
    my ($dir, $good) = directory('growing');
    my $file = write_file(work_dir() . '/grows.pem',
                          read_file($leaf->{issuer}) x 1_000);
    my $size = -s $file;
    my $end = time + 60;
    my $read = 0;

    symlink $file, "$dir/grows$_.pem" or die "$!\n" for 1 .. 10;
    my $pid = spawn(name => 'staplectl', log => work_dir() . '/growing.log',
                    cmd => [$staplectl, 'fetch', '--keep-fresh', $dir]);
    open my $out, '>>', $file or die "$file: $!\n";
    $out->autoflush;
    while (is_running($pid) && time < $end) {
        my ($fd) = grep { (readlink($_) // '') eq $file } glob "/proc/$pid/fd/*";

        if (!$fd) {
            truncate $file, $size or die "$file: $!\n";
            next;
        }
        print $out 'no certificate' . "\n" x 100_000 if -s $file < 10_000_000;
        my ($at) = read_file($fd =~ s{/fd/}{/fdinfo/}r) =~ /^pos:\s*(\d+)/;
        $read = $at if $at && $at > $read;
    }
    is(stop_process($pid), 0, 'a file that grows')
        or diag read_file(work_dir() . '/growing.log');
    cmp_ok($read, '<=', 1_048_577, '... is not read to its end');
    ok(-s "$good.ocsp", '... the response of another site is there');
}

# What the system shows as a file, but is none, is not read: here the environment
# of a process, which is a certificate.
SKIP: {
    skip 'needs /proc', 3 if !-r "/proc/$$/environ";
    my ($dir, $good) = directory('system');
    my $pid = spawn(name => 'sleep', log => work_dir() . '/sleep.log',
                    cmd => ['sleep', 300],
                    env => { CHAIN => "\n" . read_file($leaf->{chain}) });
    my $shown = "/proc/$pid/environ";

    ok(wait_for(sub { read_file($shown) =~ /CHAIN=\n-----BEGIN/ }),
       'a certificate in /proc');
    symlink $shown, "$dir/shown.pem" or die "$!\n";
    is((keep_fresh($dir))[0], 0, '... is passed over');
    is(join(' ', map { s{.*/}{}r } glob "$dir/*.ocsp"), 'good.pem.ocsp',
       '... and the response of another site is there');
    stop_process($pid);
}

done_testing();
