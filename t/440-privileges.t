# Licensed under the Apache License, Version 2.0; see LICENSE.

# The ring's file is the server's own: mode 0600 and its start user's under any
# umask, started as root or not; what others have planted in its place, in a
# directory that everybody may write to, is neither used nor harmed, nor does
# it stop the start. In a ChrootDir stapling works as outside.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use POSIX qw(mkfifo);
use Socket;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $is_root = $> == 0;
my ($account) = $is_root ? Staple::Httpd::account() : ();
my $other = $is_root ? (getpwnam $account)[2] : undef;

sub mode { return sprintf '%o', (lstat $_[0])[2] & 07777 }

sub is_own
{
    my ($path, $owner, $what) = @_;

    is(join(' ', mode($path), (lstat $path)[3, 4]), "600 1 $owner",
       "$what: mode, links and owner of the file");
}

# Whose it is by default, at the start and after restarts, under umask 0.
sub check_modes
{
    my ($what, %o) = @_;
    my $umask = umask 0;
    my $httpd = Staple::Httpd->new(conf => stapling(), %o,
                                   vhosts => [{ cert => $leaf }]);
    my $file = $httpd->dir . '/logs/stapling_cache';
    my $owner = $o{as} ? (getpwnam $o{as})[2] : $>;

    $httpd->start;
    umask $umask;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good', "$what: stapled");
    is_own($file, $owner, $what);
    for my $how (qw(graceful restart)) {
        $httpd->$how;
        is(handshake($httpd)->{staple}, 'good', "$what: $how: stapled");
        is_own($file, $owner, "$what: $how");
    }
    chmod 0666, $file;    # somebody was careless
    $httpd->graceful;
    is_own($file, $owner, "$what: made anew");
    is(handshake($httpd)->{staple}, 'good', "$what: out of memory");
    ok($httpd->stop, "$what: httpd stops in good order");
    $httpd->start;
    is(handshake($httpd)->{staple}, 'good', "$what: stapled after a start");
    ok($httpd->stop, "$what: httpd stops in good order");
    $httpd->log_ok(qr/STP0104.*can be written by others/);
}

check_modes($is_root ? 'as root' : 'as an ordinary user');
SKIP: {
    skip 'only root can be another user', 1 if !$is_root;
    skip 'no setpriv here', 1 if !Staple::Work::find_tool('setpriv');
    chmod 0644, $leaf->{key};
    check_modes('as an ordinary user', as => $account);
}

# A directory for everybody, with or without the sticky bit.
my $victim = write_file('victim', "not yours\n");
chmod 0644, $victim;
my $copy = read_file($victim);
my $open = Staple::Work::work_dir() . '/open';
my $path = "$open/cache";
my @planted = (
    ['a symbolic link'  => sub { symlink $victim, $path }],
    ['a dangling link'  => sub { symlink "$open/made-by-root", $path }],
    ['a hard link'      => sub { link $victim, $path }],
    ['a pipe'           => sub { mkfifo $path, 0666 }],
    ['a socket'         => sub {
        socket my $s, PF_UNIX, SOCK_STREAM, 0;
        bind $s, sockaddr_un($path);
    }],
    ['a directory'      => sub { mkdir $path }],
    ["a stranger's file" => sub {
        write_file($path, 'x' x 200_000);
        chmod 0666, $path;
        chown $other, -1, $path if $is_root;
    }],
);

mkdir $open;
for my $bits (01777, 0777) {
    for my $plant (@planted) {
        my ($name, $make) = @$plant;
        my $what = sprintf '%o, %s', $bits, $name;
        my $httpd = Staple::Httpd->new(
            conf => "SSLUseStapling on\nSSLStaplingCache shmcb:$path(128000)\n",
            vhosts => [{ cert => $leaf }]);

        chmod $bits, $open;
        run('rm', '-rf', $path);
        $make->();
        my @before = (lstat $path)[1, 2, 4, 7];
        $httpd->start;
        is(wait_for_staple($httpd, 'good')->{staple}, 'good',
           "$what: stapled");
        $httpd->graceful;
        is(handshake($httpd)->{staple}, 'good',
           "$what: and after a restart");
        is(read_file($victim), $copy, "$what: nobody else's file is changed");
        is(mode($victim), '644', "$what: nor its mode");
        # It is left as it is; or, where it was a plain file of our own user,
        # set aside.
        my @after = (lstat $path)[1, 2, 4, 7];
        ok("@after" eq "@before" || mode($path) eq '600' && -f $path,
           "$what: is left alone, or a file of our own took its place");
        ok($httpd->stop, "$what: httpd stops in good order");
        $httpd->log_ok(qr/STP010[45]/);
    }
}
ok(!-e "$open/made-by-root", 'no file was made through a link');

SKIP: {
    skip 'ChrootDir is for root', 1 if !$is_root;
    skip 'LeakSanitizer wants /proc, which a cell has not', 1
        if $ENV{STAPLE_PRELOAD};
    # What glibc loads when the first thread ends, out of reach by then.
    my (undef, $libs) = run('ldconfig', '-p');
    my ($libgcc) = $libs =~ m{libgcc_s\.so\.1 .*=> (/\S+)};
    my $httpd = Staple::Httpd->new(
        conf   => stapling('ChrootDir {dir}',
                           $libgcc ? "LoadFile $libgcc" : ()),
        vhosts => [{ cert => $leaf }]);

    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'ChrootDir: stapled');
    my ($child) = $httpd->children;
    is(readlink("/proc/$child/root"), $httpd->dir, 'by a child in its cell');
    $httpd->graceful;
    is(handshake($httpd)->{staple}, 'good', 'and after a restart');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;
}

done_testing;
